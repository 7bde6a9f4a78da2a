import type { Options, Problem } from "./types.js";

/** What one attempt asks for. */
export interface Request {
  /** The stream's address, with topics and parameters. */
  url: string;
  /** The long poll's; none where there is none. */
  pollUrl: string | undefined;
  /** For fetch: the same where the topics are too many for an address. */
  post: { url: string; body: string } | undefined;
  topics: readonly string[];
  /** Where to go on; empty at the beginning. */
  since: string;
  replay: number | undefined;
  init: RequestInit;
  /** An EventSource can't send it in a header. */
  token: string | undefined;
  credentials: boolean;
}

/** Why a connection ended, where there is more to say than that it did. */
export interface Failure {
  status?: number;
  problem?: Problem;
  /** In milliseconds. */
  retryAfter?: number;
}

/** Whether the address is the gateway's stream of topics, which says `ready` first and can be polled. */
export function isGateway(url: string): boolean {
  return /\/v1\/events(\?|$)/.test(url);
}

/** Whether so many topics are no address for the proxies on the way, which take 4 to 8 kB. */
export function isLong(topics: readonly string[]): boolean {
  return topics.join("&topic=").length > 3000;
}

export function request(url: string, options: Options, topics: readonly string[], since: string, token?: string): Request {
  const poll = options.pollUrl ?? (isGateway(url) ? url.replace(/\/v1\/events(?=\?|$)/, "/v1/poll") : undefined);
  const params: Query = Object.entries(options.params ?? {});
  const query: Query = [...topics.map((topic) => ["topic", topic] as const), ...params];
  const headers: Record<string, string> = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  return {
    url: address(url, query),
    pollUrl: poll && address(poll, query),
    post: isLong(topics) && isGateway(url) ? { url: address(url, params), body: JSON.stringify({ topics }) } : undefined,
    topics,
    since,
    replay: since ? undefined : options.replay,
    init: { headers, credentials: options.withCredentials ? "include" : "same-origin", cache: "no-store" },
    token,
    credentials: options.withCredentials === true,
  };
}

export type Query = readonly (readonly [name: string, value: unknown])[];

/** The whole address: a page may name one that is relative to its own. */
export function resolve(url: string): string {
  return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
}

/** Adds to the query what is not empty. */
export function address(url: string, query: Query): string {
  const said = query.filter(([, value]) => value !== undefined && value !== "").map(([name, value]) => [name, String(value)]);
  return said.length ? `${url}${url.includes("?") ? "&" : "?"}${new URLSearchParams(said)}` : url;
}

/** Why the answer is not what was asked for, if so. */
export async function refused(response: Response, type: string): Promise<Failure | undefined> {
  const { status } = response;
  const is = response.headers.get("Content-Type") ?? "";
  if (status === 200 && is.startsWith(type)) return undefined;
  if (status === 204) return { status };
  let problem: Problem = { type: "about:blank", title: response.statusText || `Status ${status}`, status };
  if (status === 200) problem = { type: "urn:tidegate:client:content-type", title: `The answer is no ${type}`, status, detail: is };
  if (is.includes("json") && status !== 200) {
    problem = { ...problem, ...(await response.json().catch(() => undefined)) };
  }
  return { status, problem, retryAfter: Number(response.headers.get("Retry-After")) * 1000 || 0 };
}
