import type { Message, Options, Problem, State, TransportName } from "./types.js";

/** Where a stream's events come from: a connection, or one that tabs share. */
export interface Source {
  readonly transport: TransportName | null;
  readonly role: "leader" | "follower" | null;
  open(): void;
  close(): void;
  /** The page is put away, perhaps to come back: lets go of everything without a word. */
  sleep(): void;
  wake(): void;
  /** As a network would. */
  cut(): void;
  /** At once. */
  reconnect(): void;
  /** The browser has no network. */
  offline(): void;
  /** The browser has network again, or the page is seen again, perhaps after hours. */
  check(): void;
  /** There is a handler for this name now. */
  want(name: string): void;
}

/** Who is told. */
export interface Sink {
  /** `why` it is closed for good. */
  state(state: State, why?: Problem): void;
  /** `moved`: the event has an id of its own. */
  message(message: Message, moved: boolean): void;
  /** The last event id, without an event. */
  place(id: string): void;
  /** The connection lives. */
  beat(): void;
  /** What went wrong and is tried again. */
  problem(problem: Problem): void;
  raw(text: string): void;
}

/** What stays the same over reconnects. */
export interface Settings {
  url: string;
  options: Options;
  topics: readonly string[];
  /** What there are handlers for. */
  names: { has(name: string): boolean; keys(): Iterable<string> };
}
