import { type Failure, isGateway, isLong, request } from "./request.js";
import type { Settings, Sink, Source } from "./source.js";
import { type Attempt, type Hooks, transports } from "./transports.js";
import type { Message, Problem, State, TransportName } from "./types.js";

const CLOSING = "tidegate:closing";
const HEARTBEAT = "tidegate:heartbeat";
/** The longest that a timer takes: more of it is none at all. */
const LONGEST = 2 ** 31 - 1;
const GATEWAY = ["message", "tidegate:ready", "tidegate:reset", CLOSING, HEARTBEAT];

/** Keeps one stream alive: attempts, the waits between them, time-outs, tokens, the change between transports. */
export class Connection implements Source {
  readonly role = null;
  transport: TransportName | null = null;
  readonly #settings: Settings;
  readonly #sink: Sink;
  #state: State = "closed";
  #id: string;
  #attempt: Attempt | undefined;
  // Numbers the attempts: what an earlier one still says is not heard.
  #run = 0;
  #opened = false;
  #failures = 0;
  // What the server last asked for, in milliseconds.
  #retry = 0;
  #wait: Timer;
  #watch: Timer;
  // When something last came.
  #heard = 0;
  // Heartbeats are seen. An EventSource shows none that are comments.
  #beats = false;
  // Since when nothing but long polling comes through. 0: streams do, as far as is known.
  #held = 0;
  #token: string | undefined;
  #stale = true;

  constructor(settings: Settings, sink: Sink, id: string) {
    this.#settings = settings;
    this.#sink = sink;
    this.#id = id;
  }

  open(): void {
    this.#say("connecting");
    this.#connect();
  }

  close(why?: Problem): void {
    this.sleep();
    this.#say("closed", why);
  }

  sleep(): void {
    this.#run++;
    clearTimeout(this.#wait);
    clearTimeout(this.#watch);
    this.#attempt?.drop();
    this.#attempt = undefined;
  }

  wake(): void {
    if (this.#state !== "closed") this.reconnect();
  }

  cut(): void {
    if (this.#attempt) this.#lost();
  }

  reconnect(): void {
    this.#failures = 0;
    this.open();
  }

  offline(): void {
    if (this.#state === "closed") return;
    this.sleep();
    this.#failures ||= 1;
    this.#say("offline");
    // What the browser says is not the whole truth: the gateway may be on this machine.
    this.#again();
  }

  check(): void {
    const silent = this.#patience && Date.now() - this.#heard > this.#patience;
    if (this.#state === "offline" || (this.#opened && silent)) this.reconnect();
  }

  want(name: string): void {
    if (this.#attempt && this.transport === "eventsource" && this.#choose() !== this.transport) this.reconnect();
    else this.#attempt?.listen?.(name);
  }

  /** How much silence is too much. A poll has a time-out of its own. */
  get #patience(): number {
    return this.transport === "poll" ? 0 : (this.#settings.options.watchdog ?? 45_000);
  }

  #watchSilence(): void {
    this.#within(this.#beats || this.transport === "fetch" ? this.#patience : 0, () => this.#lost());
  }

  get #auto(): boolean {
    return (this.#settings.options.transport ?? "auto") === "auto";
  }

  #choose(): TransportName {
    const { options, names, topics } = this.#settings;
    if (options.transport && options.transport !== "auto") return options.transport;
    if (this.#held) return "poll";
    const plain = !options.token && !options.headers && !names.has("*") && !names.has("raw") && !isLong(topics);
    return plain && typeof EventSource === "function" ? "eventsource" : "fetch";
  }

  async #connect(): Promise<void> {
    this.sleep();
    const run = this.#run;
    const { url, options, topics, names } = this.#settings;
    try {
      if (typeof options.token !== "function") this.#token = options.token;
      else if (this.#stale) this.#token = (await options.token()) || undefined;
    } catch (error) {
      const problem = { type: "urn:tidegate:client:token", title: "No token", detail: String(error) };
      if (run === this.#run) this.#lost({ problem });
      return;
    }
    if (run !== this.#run) return;
    this.#stale = this.#opened = false;
    const asked = request(url, options, topics, this.#id, this.#token);
    this.transport = this.#choose();
    this.#attempt = transports[this.transport](asked, this.#hooks(run), [...GATEWAY, ...names.keys()]);
    this.#within(options.openTimeout ?? 10_000, () => {
      if (!this.#auto || this.#held || !asked.pollUrl) return this.#lost();
      this.#held = Date.now();
      this.#connect();
    });
  }

  #hooks(run: number): Hooks {
    const heard =
      <A extends unknown[]>(hook: (...said: A) => void) =>
      (...said: A) => {
        if (run === this.#run) hook(...said);
      };
    return {
      // A gateway's stream begins with an event. An answer without one may be a proxy's, which keeps what follows.
      answered: heard(() => {
        if (this.transport === "poll" || !isGateway(this.#settings.url)) this.#isOpen();
      }),
      alive: heard(() => {
        this.#heard = Date.now();
        if (this.#opened) this.#watchSilence();
        this.#sink.beat();
      }),
      message: heard((message) => this.#message(message)),
      place: heard((id) => this.#place(id)),
      retry: heard((milliseconds) => {
        this.#retry = milliseconds;
      }),
      raw: heard((text) => this.#sink.raw(text)),
      resuming: heard(() => {
        if (!this.#failed() && run === this.#run) this.#within(this.#patience, () => this.#lost());
      }),
      end: heard((failure) => this.#lost(failure)),
    };
  }

  #message(message: Message): void {
    const run = this.#run;
    const moved = message.id !== "" && message.id !== this.#id;
    if (moved) this.#id = message.id;
    else message.id = this.#id;
    const closing = message.event === CLOSING;
    // Who is turned away is told so by this as well.
    if (!closing) this.#isOpen();
    if (message.event === HEARTBEAT) {
      this.#beats = true;
      this.#watchSilence();
      return this.#sink.place(this.#id);
    }
    const expired = closing && message.data.includes('"token_expired"');
    if (expired) this.#stale = true;
    this.#sink.message(message, moved);
    // A browser would come back with the old one.
    if (expired && typeof this.#settings.options.token === "function" && run === this.#run) this.#lost();
  }

  #place(id: string): void {
    this.#id = id;
    this.#sink.place(id);
    if (this.#held && Date.now() - this.#held > (this.#settings.options.pollFor ?? 300_000)) {
      this.#held = 0;
      this.#connect();
    }
  }

  #isOpen(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.#failures = 0;
    this.#heard = Date.now();
    this.#watchSilence();
    this.#say("open");
  }

  #lost(failure?: Failure): void {
    this.sleep();
    const run = this.#run;
    if (!this.#failed(failure) && run === this.#run) this.#again(failure?.retryAfter);
  }

  /** Counts it and says it. Whether it was the end. */
  #failed({ status = 0, problem }: Failure = {}): boolean {
    const { token, retry: { attempts = Infinity } = {} } = this.#settings.options;
    if (!this.#opened) this.#failures++;
    const polled = this.#auto && this.#held;
    // Polling failed as well: a stream is as good to try.
    if (!this.#opened) this.#held = 0;
    this.#opened = false;
    const mayRenew = typeof token === "function" && (status === 401 || status === 403);
    if (mayRenew) this.#stale = true;
    const refused = status >= 400 && status < 500 && status !== 408 && status !== 429 && !mayRenew && !polled;
    const failures = this.#failures;
    if (status === 204 || refused) this.close(problem);
    else if (failures >= attempts) {
      this.close(problem ?? { type: "urn:tidegate:client:attempts", title: `${failures} attempts failed` });
    } else {
      this.#say(failures ? "offline" : "connecting");
      if (problem) this.#sink.problem(problem);
    }
    return this.#state === "closed";
  }

  /** Exponential backoff with full jitter: clients that were cut off together don't come back together. */
  #again(retryAfter = 0): void {
    const { min = 1000, max = 30_000 } = this.#settings.options.retry ?? {};
    const jitter = Math.random() * Math.min(max, min * 2 ** this.#failures);
    const wait = Math.min(LONGEST, Math.max(this.#retry, retryAfter, jitter));
    this.#wait = setTimeout(() => this.#connect(), wait);
  }

  #within(milliseconds: number, late: () => void): void {
    clearTimeout(this.#watch);
    if (milliseconds) this.#watch = setTimeout(late, milliseconds);
  }

  #say(state: State, why?: Problem): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#sink.state(state, why);
  }
}

type Timer = ReturnType<typeof setTimeout> | undefined;
