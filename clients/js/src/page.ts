/** Tells what becomes of the page and its network. Returns how to stop it. Outside of browsers nothing happens. */
export function watchPage(tell: (what: "sleep" | "wake" | "offline" | "check") => void): () => void {
  if (typeof addEventListener !== "function") return () => {};
  const off = new AbortController();
  const on = (target: EventTarget, name: string, then: () => void) => target.addEventListener(name, then, { signal: off.signal });
  on(globalThis, "offline", () => tell("offline"));
  on(globalThis, "online", () => tell("check"));
  // Perhaps into the back/forward cache, which takes no page with an open connection or a lock.
  on(globalThis, "pagehide", () => tell("sleep"));
  on(globalThis, "pageshow", (event?: Event) => {
    if ((event as PageTransitionEvent | undefined)?.persisted) tell("wake");
  });
  if (typeof document === "object") {
    on(document, "visibilitychange", () => {
      if (document.visibilityState === "visible") tell("check");
    });
  }
  return () => off.abort();
}
