import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { Stream } from "./stream.js";
import type { Handler, Options, Own, State } from "./types.js";

/**
 * A stream that is open while the component is there. Other topics keep the place; another address or other options make another stream.
 * Functions among the options may be new ones each time.
 */
export function useStream(url: string, options: Options = {}): Stream {
  const latest = useRef(options);
  const { topics = [], token, ...rest } = options;
  const asked = JSON.stringify(topics);
  const key = JSON.stringify([rest, typeof token === "function" || token]);
  // Only made here: it opens when the component is shown, which may be twice (StrictMode) or never.
  const stream = useMemo(() => {
    const current = () => {
      const { token } = latest.current;
      return typeof token === "function" ? token() : token;
    };
    return new Stream(url, { ...options, ...(typeof token === "function" && { token: current }) });
  }, [url, key]);
  const shown = useRef(asked);
  useEffect(() => {
    latest.current = options;
  });
  useEffect(() => {
    stream.open();
    return () => stream.close();
  }, [stream]);
  useEffect(() => {
    if (shown.current !== asked) stream.topics(JSON.parse(asked));
    shown.current = asked;
  }, [stream, asked]);
  return stream;
}

/** Calls the latest `handler` with each event of this name. */
export function useEvent<N extends keyof Own>(stream: Stream, name: N, handler: Own[N]): void;
export function useEvent<T = any>(stream: Stream, name: string, handler: Handler<T>): void;
export function useEvent(stream: Stream, name: string, handler: (...said: any[]) => void): void {
  const latest = useRef(handler);
  useEffect(() => {
    latest.current = handler;
  });
  useEffect(() => stream.on(name, (...said: unknown[]) => latest.current(...said)), [stream, name]);
}

export function useStreamState(stream: Stream): State {
  return useSyncExternalStore(
    (changed) => stream.on("state", changed),
    () => stream.state,
    () => "connecting",
  );
}
