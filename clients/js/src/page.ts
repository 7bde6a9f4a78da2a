/** Tells a stream what becomes of its page. Returns how to stop it. Outside of browsers nothing happens. */
export function watchPage(stream: { page(what: "sleep" | "wake" | "offline" | "check"): void }): () => void {
  if (typeof addEventListener !== "function") return () => {};
  const off = new AbortController();
  const on = (target: EventTarget, name: string, then: () => void) => target.addEventListener(name, then, { signal: off.signal });
  on(globalThis, "offline", () => stream.page("offline"));
  on(globalThis, "online", () => stream.page("check"));
  // Perhaps into the back/forward cache, which takes no page with an open connection or a lock.
  on(globalThis, "pagehide", () => stream.page("sleep"));
  on(globalThis, "pageshow", (event?: Event) => {
    if ((event as PageTransitionEvent | undefined)?.persisted) stream.page("wake");
  });
  if (typeof document === "object") {
    on(document, "visibilitychange", () => {
      if (document.visibilityState === "visible") stream.page("check");
    });
  }
  return () => off.abort();
}
