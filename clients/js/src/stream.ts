import { Connection } from "./connection.js";
import { watchPage } from "./page.js";
import { resolve } from "./request.js";
import { canShare, Shared } from "./shared.js";
import type { Settings, Sink, Source } from "./source.js";
import type { Handler, Message, Options, Own, State, TransportName } from "./types.js";

const OWN = ["state", "ready", "reset", "closing", "error", "raw"];

type Any = (...said: never[]) => void;

/** Events of some topics, each once and in order, over whatever connections that takes. */
export class Stream {
  readonly #url: string;
  readonly #options: Options;
  readonly #handlers = new Map<string, Set<Any>>();
  #topics: readonly string[];
  #source: Source | undefined;
  #leavePage: (() => void) | undefined;
  #state: State = "closed";
  #id: string;

  constructor(url: string, options: Options = {}) {
    this.#url = url;
    this.#options = options;
    this.#topics = options.topics ?? [];
    this.#id = options.lastEventId ?? "";
  }

  get state(): State {
    return this.#state;
  }

  /** The id of the last event that was handed on: good for another stream's `lastEventId`. */
  get lastEventId(): string {
    return this.#id;
  }

  get transport(): TransportName | null {
    return this.#source?.transport ?? null;
  }

  /** Whether this tab has the connection that is shared, or hears another's. */
  get role(): "leader" | "follower" | null {
    return this.#source?.role ?? null;
  }

  /** Calls `handler` with each event of this name; `message` are those without one, `*` all. Returns how to stop it. */
  on<N extends keyof Own>(name: N, handler: Own[N]): () => void;
  on<T = any>(name: string, handler: Handler<T>): () => void;
  on(name: string, handler: Any): () => void {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    this.#source?.want(name);
    return () => {
      handlers.delete(handler);
      if (!handlers.size && this.#handlers.get(name) === handlers) this.#handlers.delete(name);
    };
  }

  /** Connects, again if it was closed: from the last event on. */
  open(): void {
    if (this.#source) return;
    // Whether it is one: a request would only fail, and be tried again.
    resolve(this.#url);
    this.#leavePage = watchPage((what) => this.#source?.[what]());
    this.#start();
  }

  close(): void {
    this.#leavePage?.();
    this.#source?.close();
    this.#source = undefined;
    this.#say("closed");
  }

  /** Drops the connection as a network would. It resumes. */
  cut(): void {
    this.#source?.cut();
  }

  /** Connects anew at once. */
  reconnect(): void {
    if (this.#source) this.#source.reconnect();
    else this.open();
  }

  /** Goes on from the same place with other topics. */
  topics(topics: readonly string[]): void {
    this.#topics = topics;
    if (!this.#source) return;
    this.#source.sleep();
    this.#start();
  }

  #start(): void {
    const settings: Settings = { url: this.#url, options: this.#options, topics: this.#topics, names: this.#handlers };
    const { shared } = this.#options;
    const source: Source =
      shared && canShare() ? new Shared(settings, this.#sink, this.#id) : new Connection(settings, this.#sink, this.#id);
    this.#source = source;
    this.#say("connecting");
    // Whoever made it adds handlers first.
    queueMicrotask(() => {
      if (source === this.#source) source.open();
    });
  }

  readonly #sink: Sink = {
    state: (state, why) => {
      this.#say(state);
      if (why) this.#emit("error", why);
    },
    message: (message) => this.#message(message),
    place: (id) => {
      this.#id = id;
    },
    beat: () => {},
    problem: (problem) => this.#emit("error", problem),
    raw: (text) => this.#emit("raw", text),
  };

  #message(message: Message): void {
    // First: a handler may ask for it, or cut.
    this.#id = message.id;
    const { event } = message;
    if (event.startsWith("tidegate:")) return this.#emit(event.slice(9), parsed(message.data));
    const named = this.#handlers.has(event) && !OWN.includes(event);
    if (!named && !this.#handlers.has("*")) return;
    const data = parsed(message.data);
    if (named) this.#emit(event, data, message);
    this.#emit("*", data, message);
  }

  #emit(name: string, ...said: unknown[]): void {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        handler(...(said as never[]));
      } catch (error) {
        // One that fails keeps the others from nothing, and is seen where errors are seen.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  #say(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "closed") {
      this.#leavePage?.();
      this.#source = undefined;
    }
    this.#emit("state", state);
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return data;
  }
}
