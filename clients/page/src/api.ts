import type { Person } from './people';

/** An answer that is not a success: what its problem+json says. Status 0: no answer at all. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly problem: Record<string, unknown> = {},
    readonly retryAfter: number | null = null,
  ) {
    super(detail);
  }

  /** Whether the same request may succeed later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

interface Options {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  body?: unknown;
  query?: Record<string, string | number | undefined>;
  /** Idempotency-Key: the same request sent twice counts once. */
  key?: string;
}

// A node that was killed is noticed by the proxy at once, by us only when nothing comes: ten seconds is longer than any answer takes.
const patience = 10_000;
/** How far the gateway's clock is ahead of this machine's, in milliseconds; its times are shown by ours. */
let ahead = 0;

/** The gateway's time. `Date` headers have whole seconds, so only a difference beyond that counts. */
export const now = (): number => Date.now() + ahead;

/** Where the gateway has `path`: the page may be one of a site's, under a path that a proxy takes away. */
export const pathTo = (path: string): string => new URL(path, document.baseURI).pathname;

/** Asks the gateway in the name of a person. */
export async function ask<T>(person: Person, path: string, options: Options = {}): Promise<T> {
  const url = new URL(pathTo(path), location.origin);
  // Where no key is configured the gateway takes our word for who calls; elsewhere it looks at the token alone.
  url.searchParams.set('userId', person.id);
  for (const [name, value] of Object.entries(options.query ?? {})) if (value !== undefined) url.searchParams.set(name, String(value));
  const headers: Record<string, string> = { accept: 'application/json' };
  if (person.token !== null) headers['authorization'] = `Bearer ${person.token}`;
  if (options.body !== undefined) headers['content-type'] = 'application/json';
  if (options.key !== undefined) headers['idempotency-key'] = options.key;

  let answer: Response;
  let text: string;
  try {
    const body = options.body === undefined ? null : JSON.stringify(options.body);
    answer = await fetch(url, { method: options.method ?? 'GET', headers, body, signal: AbortSignal.timeout(patience) });
    text = await answer.text();
  } catch {
    throw new Refusal(0, 'The gateway does not answer.');
  }
  const date = Date.parse(answer.headers.get('date') ?? '') - Date.now();
  if (Math.abs(date) > 2_000) ahead = date;
  const value = parse(text);
  if (answer.ok) return value as T;
  const problem = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const said = problem['detail'] ?? problem['title'];
  const retryAfter = Number(answer.headers.get('retry-after') ?? NaN);
  throw new Refusal(answer.status, typeof said === 'string' ? said : `The gateway answered ${answer.status}.`, problem, Number.isFinite(retryAfter) ? retryAfter : null);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
