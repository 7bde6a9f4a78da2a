import { Connection } from "./connection.js";
import { address, request, resolve } from "./request.js";
import type { Settings, Sink, Source } from "./source.js";
import { ask } from "./transports.js";
import type { Message, Problem, State, TransportName } from "./types.js";

/** What tabs say to each other. */
type Word = { from: string } & (
  | { say: "hello" }
  | { say: "here"; to?: string; id: string; state: State; transport: TransportName | null; ready?: Message }
  | { say: "message"; message: Message; moved: boolean }
  | { say: "state"; state: State; why?: Problem; transport: TransportName | null }
  | { say: "place"; id: string }
  | { say: "problem"; problem: Problem }
  | { say: "do"; what: "cut" | "reconnect" | "check" }
);

type Unsigned<W> = W extends Word ? Omit<W, "from"> : never;

/** What a leader said last may still be on its way when its lock is free already. */
const SETTLE = 100;
/** Within so many milliseconds a leader answers. */
const PATIENCE = 3000;
/** A leader shows that it lives this often at most. */
const BEAT = 5000;
/** So many ids are known again: what comes twice comes soon after a change of leaders. */
const KNOWN = 1000;
/** An answer with more events than this may not be all that there is. */
const MANY = 100;

export function canShare(): boolean {
  return typeof BroadcastChannel === "function" && typeof navigator === "object" && "locks" in navigator;
}

/**
 * One stream among the tabs. The tab that holds a lock is the leader: it has the connection and tells the others what comes. When it goes, its
 * lock passes to the next, which goes on from its own last event. Every tab knows the ids of what it has had, and passes over what it hears again.
 * A tab whose place the leader's is not known to follow, because it was put away or brought a cursor, asks the gateway for what lies between.
 */
export class Shared implements Source {
  role: "leader" | "follower" | null = null;
  readonly #settings: Settings;
  readonly #sink: Sink;
  readonly #key: string;
  readonly #tab = Math.random().toString(36).slice(2);
  readonly #known = new Set<string>();
  #id: string;
  #state: State = "closed";
  #channel: BroadcastChannel | undefined;
  #lock: AbortController | undefined;
  #release: (() => void) | undefined;
  #connection: Connection | undefined;
  // The leader's.
  #transport: TransportName | null = null;
  #leader: string | undefined;
  // Heard while it catches up. None: it is as far as the leader.
  #held: Word[] | undefined;
  #welcomed = false;
  #asked = false;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #beaten = 0;
  #ready: Message | undefined;

  constructor(settings: Settings, sink: Sink, id: string) {
    const { url, options, topics } = settings;
    const query = [...[...topics].sort().map((topic) => ["topic", topic] as const), ...Object.entries(options.params ?? {})];
    this.#key = `tidegate:${options.shared === true ? "" : options.shared}:${resolve(address(url, query))}`;
    this.#settings = settings;
    this.#sink = sink;
    this.#id = id;
  }

  get transport(): TransportName | null {
    return this.#connection ? this.#connection.transport : this.#transport;
  }

  open(): void {
    this.#say("connecting");
    this.#join();
  }

  close(why?: Problem): void {
    this.sleep();
    this.#say("closed", why);
  }

  sleep(): void {
    clearTimeout(this.#silence);
    this.#connection?.sleep();
    this.#connection = undefined;
    this.#channel?.close();
    this.#channel = undefined;
    this.#lock?.abort();
    this.#release?.();
    this.#release = this.#leader = this.#held = undefined;
    this.#welcomed = false;
    this.role = null;
  }

  wake(): void {
    if (this.#state === "closed") return;
    this.sleep();
    this.open();
  }

  cut(): void {
    this.#do("cut");
  }

  reconnect(): void {
    this.#do("reconnect");
  }

  offline(): void {
    this.#connection?.offline();
  }

  check(): void {
    this.#do("check");
  }

  want(): void {
    // All names come.
  }

  #do(what: "cut" | "reconnect" | "check"): void {
    if (this.#connection) this.#connection[what]();
    else this.#post({ say: "do", what });
  }

  #join(steal = false): void {
    this.role = "follower";
    this.#channel = new BroadcastChannel(this.#key);
    this.#channel.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
    this.#lock = new AbortController();
    const { signal } = this.#lock;
    const held = () =>
      new Promise<void>((release) => {
        if (signal.aborted) return release();
        this.#release = release;
        // Nobody was there before: nothing can be on its way.
        if (!this.#leader && !steal) return this.#lead();
        setTimeout(() => signal.aborted || this.#lead(), SETTLE);
      });
    // A steal can't be called off, and need not.
    navigator.locks.request(this.#key, steal ? { steal } : { signal }, held).catch(({ name }) => {
      if (signal.aborted) return;
      // Another tab found this one silent, as a page is that was frozen; or a page in a sandbox has no locks.
      if (name === "AbortError") this.wake();
      else this.#alone();
    });
    this.#hello();
  }

  #hello(): void {
    this.#asked = true;
    this.#post({ say: "hello" });
    this.#expect(PATIENCE);
  }

  #expect(milliseconds: number): void {
    clearTimeout(this.#silence);
    if (this.role === "leader") return;
    this.#silence = setTimeout(() => {
      if (!this.#asked) return this.#hello();
      this.sleep();
      this.#join(true);
    }, milliseconds);
  }

  #lead(): void {
    clearTimeout(this.#silence);
    this.role = "leader";
    this.#held = undefined;
    const { options } = this.#settings;
    // Another tab may have a handler for any name, which an EventSource would have to know.
    const transport = options.transport === "eventsource" ? "fetch" : options.transport;
    const all = { ...this.#settings, options: { ...options, transport }, names: new Set(["*"]) };
    this.#connection = new Connection(all, this.#both, this.#id);
    this.#connection.open();
    this.#here();
  }

  /** What the leader's connection says, for this tab and for the others. */
  readonly #both: Sink = {
    state: (state, why) => {
      this.#post({ say: "state", state, why, transport: this.transport });
      this.#become(state, why);
    },
    message: (message, moved) => {
      if (message.event === "tidegate:ready") this.#ready = message;
      this.#post({ say: "message", message, moved });
      this.#deliver(message, moved);
    },
    place: (id) => {
      this.#post({ say: "place", id });
      this.#place(id);
    },
    beat: () => {
      if (Date.now() - this.#beaten < BEAT) return;
      this.#beaten = Date.now();
      this.#here();
    },
    problem: (problem) => {
      this.#post({ say: "problem", problem });
      this.#sink.problem(problem);
    },
    raw: (text) => this.#sink.raw(text),
  };

  #here(to?: string): void {
    this.#post({ say: "here", to, id: this.#id, state: this.#state, transport: this.transport, ready: this.#ready });
  }

  #hear(word: Word): void {
    if (this.role === "leader") return this.#answer(word);
    if (word.say === "hello" || word.say === "do") return;
    if (word.say === "here" && word.to && word.to !== this.#tab) return;
    const { watchdog, retry } = this.#settings.options;
    this.#asked = false;
    this.#expect(2 * Math.max(watchdog || 45_000, retry?.max ?? 30_000));
    if (word.say === "here") return this.#meet(word);
    if (!this.#welcomed) return;
    if (this.#held) this.#held.push(word);
    else this.#follow(word);
  }

  #answer(word: Word): void {
    if (word.say === "hello") this.#here(word.from);
    if (word.say === "do") this.#connection?.[word.what]();
  }

  #meet(word: Word & { say: "here" }): void {
    const changed = this.#leader !== word.from;
    this.#leader = word.from;
    this.#transport = word.transport;
    if (this.#welcomed && !changed) return;
    const begun = this.#id || this.#settings.options.replay;
    const first = !this.#welcomed;
    this.#welcomed = true;
    if (begun && word.id !== this.#id && !this.#known.has(word.id)) void this.#catchUp();
    else if (!this.#id) this.#place(word.id);
    if (first && word.ready) this.#deliver(word.ready, false);
    this.#say(word.state);
  }

  #follow(word: Word): void {
    if (word.say === "message") this.#deliver(word.message, word.moved);
    else if (word.say === "place") this.#place(word.id);
    else if (word.say === "problem") this.#sink.problem(word.problem);
    else if (word.say === "state") {
      this.#transport = word.transport;
      this.#become(word.state, word.why);
    }
  }

  #become(state: State, why?: Problem): void {
    if (state === "closed") this.close(why);
    else this.#say(state);
  }

  #deliver(message: Message, moved: boolean): void {
    if (!moved) message.id = this.#id;
    else {
      // What the gateway says itself has the id of a place, which an event may have as well.
      if (this.#known.has(message.id) && !message.event.startsWith("tidegate:")) return;
      this.#know(message.id);
    }
    this.#sink.message(message, moved);
  }

  #place(id: string): void {
    this.#know(id);
    this.#sink.place(id);
  }

  #know(id: string): void {
    if (!id) return;
    this.#id = id;
    this.#known.add(id);
    for (const oldest of this.#known) {
      if (this.#known.size <= KNOWN) break;
      this.#known.delete(oldest);
    }
  }

  /** Asks the gateway for what lies between this tab's place and the leader's; what the leader says meanwhile comes after it. */
  async #catchUp(): Promise<void> {
    const held: Word[] = [];
    this.#held = held;
    const { url, options, topics } = this.#settings;
    const { token } = options;
    if (!request(url, options, topics, "").pollUrl) return this.#alone();
    try {
      for (let more = true; more; ) {
        const credential = typeof token === "function" ? await token() : token;
        const answer = await ask(request(url, options, topics, this.#id, credential || undefined), 0);
        if (this.#held !== held) return;
        if ("failure" in answer) throw answer.failure;
        for (const message of answer.messages) this.#deliver(message, message.id !== this.#id && message.id !== "");
        this.#place(answer.cursor);
        more = answer.messages.length > MANY;
      }
      this.#held = undefined;
      for (const word of held) this.#follow(word);
    } catch {
      if (this.#held !== held) return;
      // Later, from the same place. Until then the leader is not listened to: what it says lies behind the gap.
      this.#held = undefined;
      this.#welcomed = false;
      this.#expect(PATIENCE);
    }
  }

  #alone(): void {
    this.sleep();
    this.#connection = new Connection(this.#settings, this.#sink, this.#id);
    this.#connection.open();
  }

  #post(word: Unsigned<Word>): void {
    this.#channel?.postMessage({ ...word, from: this.#tab });
  }

  #say(state: State, why?: Problem): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#sink.state(state, why);
  }
}
