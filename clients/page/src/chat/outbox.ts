import { Refusal, ask } from '../api';
import type { Person } from '../people';
import type { Message, Pending } from './model';

// Together about half a minute: a gateway that is restarted is back by then, and its answer to the same key is the same message.
const waits = [300, 700, 1_500, 3_000, 6_000, 10_000, 10_000];

/** Our messages until the stream brings them. They are sent one after the other, so that they stay in their order. */
export class Outbox {
  items: Pending[] = [];
  private current: Pending | null = null;
  private closed = false;
  private hurried: (() => void) | null = null;

  constructor(
    private readonly person: Person,
    private readonly changed: (pending: Pending) => void,
    private readonly has: (roomId: string, id: string) => boolean,
  ) {}

  send(roomId: string, content: string): void {
    const pending: Pending = { key: crypto.randomUUID?.() ?? random(), roomId, content, createdAt: new Date().toISOString(), failure: null, id: null, shadow: null };
    this.items.push(pending);
    this.changed(pending);
    void this.run();
  }

  retry(pending: Pending): void {
    pending.failure = null;
    this.changed(pending);
    this.hurry();
    void this.run();
  }

  /** The gateway is there again: nothing to wait for. */
  hurry(): void {
    this.hurried?.();
  }

  /** The room is gone. What was not said in it is kept, for the room that came in its place. */
  move(from: string, to: string, why: string): void {
    for (const item of this.items.filter(({ roomId }) => roomId === from)) {
      if (item.id !== null) this.drop(item);
      item.roomId = to;
      item.failure = why;
      item.shadow = null;
    }
  }

  drop(pending: Pending): void {
    this.items = this.items.filter((item) => item !== pending);
    this.changed(pending);
  }

  close(): void {
    this.closed = true;
  }

  /**
   * A message has its place in the thread. If it may be the one that is being sent, that one is hidden until the answer says which it is:
   * only the answer knows, since the same text sent twice is two messages.
   */
  arrived(message: Message): void {
    if (message.senderId !== this.person.id) return;
    const known = this.items.find((item) => item.id === message.id);
    if (known !== undefined) return this.drop(known);
    const { current } = this;
    if (current === null || current.shadow !== null || message.roomId !== current.roomId || message.content !== current.content) return;
    current.shadow = message.id;
    this.changed(current);
  }

  private async run(): Promise<void> {
    if (this.current !== null) return;
    for (;;) {
      this.current = this.items.find((item) => item.failure === null && item.id === null) ?? null;
      if (this.current === null || this.closed) return;
      await this.post(this.current);
    }
  }

  private async post(pending: Pending): Promise<void> {
    for (let attempt = 0; !this.closed && this.items.includes(pending) && pending.failure === null; attempt += 1) {
      const { roomId } = pending;
      try {
        const message = await ask<Message>(this.person, `api/chat/rooms/${encodeURIComponent(roomId)}/messages`, { method: 'POST', body: { content: pending.content }, key: pending.key });
        if (this.has(pending.roomId, message.id)) return this.drop(pending);
        pending.id = message.id;
        pending.shadow = null;
        return this.changed(pending);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        const wait = waits[attempt];
        if (!error.passing || wait === undefined) {
          pending.failure ??= error.message;
          pending.shadow = null;
          return this.changed(pending);
        }
        await this.pause(Math.max(wait, (error.retryAfter ?? 0) * 1_000));
      }
    }
  }

  private pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.hurried = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Where `crypto.randomUUID` is missing: a page over plain HTTP from another machine. */
function random(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
