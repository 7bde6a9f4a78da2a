import { Parser } from "./parser.js";
import { address, type Failure, refused, type Request } from "./request.js";
import type { Message, TransportName } from "./types.js";

/** What an attempt tells. After `end`, and once it was dropped, it tells nothing. */
export interface Hooks {
  /** The gateway took the request. */
  answered(): void;
  /** Bytes came. */
  alive(): void;
  message(message: Message): void;
  /** The last event id without an event. */
  place(id: string): void;
  retry(milliseconds: number): void;
  raw(text: string): void;
  /** The browser lost the connection and comes back by itself. */
  resuming(): void;
  end(failure?: Failure): void;
}

/** A connection, or one that comes up. */
export interface Attempt {
  drop(): void;
  /** An event name to listen for; EventSource does not show others. */
  listen?(name: string): void;
}

type Transport = (request: Request, hooks: Hooks, names: Iterable<string>) => Attempt;

export const transports: Record<TransportName, Transport> = { eventsource, fetch: streamed, poll };

const ACCEPT = "text/event-stream";

function resumed(url: string, { since, replay }: Request, more: Record<string, string | undefined> = {}): string {
  return address(url, [["last_event_id", since], ["replay", replay], ...Object.entries(more)]);
}

function eventsource(request: Request, hooks: Hooks, names: Iterable<string>): Attempt {
  // It shows no comments.
  const url = resumed(request.url, request, { heartbeat: "event", access_token: request.token });
  const source = new EventSource(url, { withCredentials: request.credentials });
  const probe = new AbortController();
  const heard = new Set<string>();
  const hear = (event: Event) => {
    const { type, data, lastEventId } = event as MessageEvent<string>;
    hooks.alive();
    hooks.message({ id: lastEventId, event: type, data });
  };
  // These also name what happens to the connection.
  const taken = ["open", "error"];
  const listen = (name: string) => {
    if (heard.has(name) || taken.includes(name)) return;
    heard.add(name);
    source.addEventListener(name, hear);
  };
  for (const name of names) listen(name);
  let answered = false;
  source.onopen = () => {
    answered = true;
    hooks.answered();
  };
  source.onerror = (event) => {
    if ("data" in event) return;
    // The browser's own reconnect knows the server's retry: time. It is left to it once; what fails then is up to our own backoff.
    if (source.readyState === source.CONNECTING && answered) {
      answered = false;
      return hooks.resuming();
    }
    const closed = source.readyState === source.CLOSED;
    source.close();
    if (!closed) return hooks.end();
    // It does not say which status it got.
    fetch(url, { ...request.init, signal: probe.signal })
      .then((response) => refused(response, ACCEPT))
      .catch(() => undefined)
      .then((failure) => {
        probe.abort();
        hooks.end(failure);
      });
  };
  return {
    drop() {
      source.close();
      probe.abort();
    },
    listen,
  };
}

function streamed(request: Request, hooks: Hooks): Attempt {
  const abort = new AbortController();
  const run = async (): Promise<Failure | undefined> => {
    const { post, init } = request;
    const headers: Record<string, string> = { ...(init.headers as object), Accept: ACCEPT };
    if (post) headers["Content-Type"] = "application/json";
    const url = resumed(post?.url ?? request.url, request);
    const method = post ? "POST" : "GET";
    const response = await fetch(url, { ...init, method, body: post?.body ?? null, headers, signal: abort.signal });
    const failure = await refused(response, ACCEPT);
    if (failure || !response.body) return failure;
    hooks.answered();
    const parser = new Parser(hooks, request.since);
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return undefined;
      hooks.alive();
      hooks.raw(parser.push(value));
    }
  };
  run()
    .catch(() => undefined)
    .then((failure) => {
      abort.abort();
      hooks.end(failure);
    });
  return { drop: () => abort.abort() };
}

/** Seconds that a poll waits: below the idle time-outs of proxies. */
const WAIT = 25;
/** An answer may come by so much later, in milliseconds. */
const SLACK = 10_000;

function poll(request: Request, hooks: Hooks): Attempt {
  const abort = new AbortController();
  const run = async (): Promise<Failure | undefined> => {
    let { since, replay } = request;
    // The first one only says whether polling works, and where things stand.
    for (let wait = 0; !abort.signal.aborted; wait = WAIT) {
      const asked = Date.now();
      const answer = await ask({ ...request, since, replay }, wait, abort.signal);
      if ("failure" in answer) return answer.failure;
      hooks.answered();
      hooks.alive();
      for (const message of answer.messages) hooks.message(message);
      hooks.place(answer.cursor);
      since = answer.cursor;
      replay = undefined;
      // A node that goes away answers at once.
      if (wait && !answer.messages.length && Date.now() - asked < 1000) await new Promise((go) => setTimeout(go, 1000));
    }
    return undefined;
  };
  run()
    .catch(() => undefined)
    .then(hooks.end);
  return { drop: () => abort.abort() };
}

/** One long poll. Throws where there is no network. */
export async function ask(
  { pollUrl, since, replay, topics, init }: Request,
  wait: number,
  dropped?: AbortSignal,
): Promise<{ messages: Message[]; cursor: string } | { failure: Failure }> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  dropped?.addEventListener("abort", stop);
  const timer = setTimeout(stop, wait * 1000 + SLACK);
  try {
    if (!pollUrl) throw new Error("There is nowhere to poll");
    const url = address(pollUrl, [["since", since], ["replay", replay], ["timeout", wait]]);
    const response = await fetch(url, { ...init, signal: abort.signal });
    const failure = await refused(response, "application/json");
    if (failure) return { failure };
    const { cursor, events, reset } = (await response.json()) as Answer;
    const messages = events.map(({ id, event, data }) => {
      if (id) since = id;
      return { id: since, event: event ?? "message", data: typeof data === "string" ? data : JSON.stringify(data) };
    });
    if (reset) {
      messages.unshift({ id: "", event: "tidegate:reset", data: JSON.stringify({ topics, reason: "unknown" }) });
    }
    return { messages, cursor };
  } finally {
    clearTimeout(timer);
    dropped?.removeEventListener("abort", stop);
  }
}

interface Answer {
  cursor: string;
  events: { id: string | null; event: string | null; data: unknown }[];
  reset: boolean;
}
