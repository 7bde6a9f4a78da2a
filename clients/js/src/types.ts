/** How the events come. */
export type TransportName = "eventsource" | "fetch" | "poll";

/**
 * `connecting`: on the way, for the first time or right after a loss. `open`: events come. `offline`: an attempt failed or the
 * browser has no network; it goes on trying. `closed`: by you, or for good (an `error` event says why).
 */
export type State = "connecting" | "open" | "offline" | "closed";

export interface Options {
  topics?: readonly string[];
  /** Further query parameters. */
  params?: Readonly<Record<string, string | number | boolean>>;
  /**
   * A token for `Authorization: Bearer`, or who gives one. Asked again after a 401 and when the gateway says that the token has
   * expired. One that gives nothing has renewed a cookie.
   */
  token?: string | (() => string | undefined | void | Promise<string | undefined | void>);
  /** `auto`: EventSource, or fetch where headers or all events are asked for; long polling where nothing comes through. */
  transport?: "auto" | TransportName;
  withCredentials?: boolean;
  headers?: Readonly<Record<string, string>>;
  /** Where to go on. */
  lastEventId?: string;
  /** With no `lastEventId`: begin with so many kept events of each topic. */
  replay?: number;
  retry?: {
    /** The first wait is a random time up to so many milliseconds (1,000), and up to twice as many each time after that… */
    min?: number;
    /** …at most so many (30,000). */
    max?: number;
    /** So many failures in a row are the end. */
    attempts?: number;
  };
  /** Milliseconds of silence after which a connection counts as dead (45,000: three heartbeats). 0: off. */
  watchdog?: number;
  /** Milliseconds until the first event of a connection, which comes at once; else a proxy holds it back (10,000). */
  openTimeout?: number;
  /** One connection among the tabs with the same address and topics; a name keeps apart who should not share, as users of one browser. */
  shared?: boolean | string;
  /** Where to poll; follows from an address that ends with `/v1/events`. */
  pollUrl?: string;
  /** Milliseconds of long polling until a stream is tried again (300,000). */
  pollFor?: number;
}

/** An event as it came. */
export interface Message {
  /** The last event id, as browsers count it. */
  id: string;
  event: string;
  data: string;
}

/** Why a request was refused, as the gateway says it (RFC 9457). */
export interface Problem {
  type: string;
  title: string;
  status?: number;
  detail?: string;
  field?: string;
}

export interface Ready {
  connection: string;
  node: string;
  user: string | null;
  topics: string[];
}

export interface Reset {
  topics: string[];
  reason: string;
}

export interface Closing {
  reason: string;
}

/** What is no event of yours. An event of yours that has one of these names comes as `*`. */
export interface Own {
  state: (state: State) => void;
  ready: (ready: Ready) => void;
  /** Events may be missing: load the state of these topics anew. */
  reset: (reset: Reset) => void;
  /** The gateway ends the connection. It is followed by a reconnect, unless you close. */
  closing: (closing: Closing) => void;
  error: (problem: Problem) => void;
  /** Text as it came (fetch only). */
  raw: (text: string) => void;
}

export type Handler<T = any> = (data: T, event: Message) => void;
