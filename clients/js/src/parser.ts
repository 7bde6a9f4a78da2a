import type { Message } from "./types.js";

export interface Out {
  message(message: Message): void;
  /** A block without data moved the last event id. */
  place(id: string): void;
  retry(milliseconds: number): void;
}

/** Reads an event stream as the HTML standard has it, however it was cut into chunks. */
export class Parser {
  readonly #out: Out;
  // Takes the byte order mark off, and characters that lie in two chunks together.
  readonly #decoder = new TextDecoder();
  #rest = "";
  #afterCr = false;
  #lastId: string;
  #id: string;
  #event = "";
  #data: string[] = [];

  constructor(out: Out, lastId = "") {
    this.#out = out;
    this.#id = this.#lastId = lastId;
  }

  /** Returns the chunk as text. */
  push(chunk: Uint8Array): string {
    const text = this.#decoder.decode(chunk, { stream: true });
    const from = this.#afterCr && text[0] === "\n" ? 1 : 0;
    if (text) this.#afterCr = text.endsWith("\r");
    const lines = text.slice(from).split(/\r\n|\r|\n/);
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
    return text;
  }

  #line(line: string): void {
    if (!line) return this.#block();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) this.#out.retry(Number(value));
  }

  #block(): void {
    const [event, data] = [this.#event, this.#data];
    this.#event = "";
    this.#data = [];
    const moved = this.#id !== this.#lastId;
    this.#lastId = this.#id;
    if (data.length) this.#out.message({ id: this.#id, event: event || "message", data: data.join("\n") });
    else if (moved) this.#out.place(this.#id);
  }
}
