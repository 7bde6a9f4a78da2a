import { Stream } from "./stream.js";
import type { Options } from "./types.js";

export { Stream } from "./stream.js";
export type { Closing, Handler, Message, Options, Own, Problem, Ready, Reset, State, TransportName } from "./types.js";

/** Opens a stream of events. Handlers that are added at once miss nothing. */
export function connect(url: string, options?: Options): Stream {
  const stream = new Stream(url, options);
  stream.open();
  return stream;
}
