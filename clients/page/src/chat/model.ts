import { called } from '../names';

export interface Message {
  id: string;
  roomId: string;
  senderId: string;
  content: string;
  messageType: 'MESSAGE' | 'JOIN' | 'LEAVE';
  createdAt: string;
}

export interface Room {
  id: string;
  /** Empty in a room of two. */
  name: string;
  participants: string[];
  createdBy: string | null;
  /** The one room of its two people. */
  direct: boolean;
  createdAt: string;
  lastMessage: Message | null;
  unreadCount: number;
}

/** The rooms of one person, by their ids. */
export class Rooms extends Map<string, Room> {
  /** The liveliest first. */
  sorted(): Room[] {
    const at = (room: Room): string => room.lastMessage?.createdAt ?? room.createdAt;
    return [...this.values()].sort((a, b) => (at(a) < at(b) ? 1 : at(a) > at(b) ? -1 : 0));
  }

  /** The room of two that one has with somebody. */
  withOnly(partner: string): Room | undefined {
    return [...this.values()].find(({ direct, participants }) => direct && participants.includes(partner));
  }
}

/** What a room is called, by one of those in it. */
export function title(room: Room, me: string): string {
  return room.name === '' ? room.participants.filter((id) => id !== me).map(called).join(', ') || 'Just you' : room.name;
}

/** A message as a line: of who comes and goes nothing is believed but who it was. */
export function line(message: Message): string {
  if (message.messageType === 'MESSAGE') return message.content;
  return `${called(message.senderId)} ${message.messageType === 'JOIN' ? 'joined' : 'left'}`;
}

export interface RoomUpdate {
  chatRoomId: string;
  partnerNickname: string;
  isRead: boolean;
}

export interface Page {
  messages: Message[];
  hasMore: boolean;
}

/** A message of ours that the stream has not brought yet. */
export interface Pending {
  /** Its Idempotency-Key: however often it is sent, it counts once. */
  key: string;
  roomId: string;
  content: string;
  createdAt: string;
  /** Why it was not taken; null while it is being sent. */
  failure: string | null;
  /** The id of the message that it became. It stays until that one comes over the stream, which alone knows its place among the others. */
  id: string | null;
  /** The message that came over the stream and is probably this one. */
  shadow: string | null;
}

/** The messages of a room in their order, each once, whichever way it came: by page, live, or again after a reconnect. */
export class Thread {
  messages: Message[] = [];
  hasMore = false;
  loaded = false;
  /** Why there is nothing to see, if so. */
  problem: string | null = null;
  private ids = new Set<string>();
  /** What comes live while the latest page is asked for. */
  private held: Message[] | null = null;

  has(id: string): boolean {
    return this.ids.has(id);
  }

  /** From here on live messages are kept for after the page. */
  expect(): void {
    this.held ??= [];
  }

  fail(problem: string): void {
    this.held = null;
    this.loaded = false;
    this.problem = problem;
  }

  /** A live message, where there is no page yet. */
  hold(message: Message): void {
    this.held?.push(message);
  }

  /** A live message: false if it was there already. */
  append(message: Message): boolean {
    if (this.ids.has(message.id)) return false;
    this.ids.add(message.id);
    this.messages.push(message);
    return true;
  }

  prepend(page: Page): void {
    const older = page.messages.filter((message) => !this.ids.has(message.id));
    for (const message of older) this.ids.add(message.id);
    this.messages.unshift(...older);
    this.hasMore = page.hasMore;
  }

  /** The latest page. What came live after it was read stays behind it; what lies before it stays only if the two meet. */
  replace(page: Page): void {
    const inPage = new Set(page.messages.map((message) => message.id));
    const first = this.messages.findIndex((message) => inPage.has(message.id));
    const before = first > 0 ? this.messages.slice(0, first) : [];
    const lastAt = this.messages.findLastIndex((message) => inPage.has(message.id));
    const latest = page.messages.at(-1)?.createdAt ?? '';
    const after = this.messages.slice(lastAt + 1).filter((message) => !inPage.has(message.id) && (first >= 0 || message.createdAt >= latest));
    if (before.length === 0) this.hasMore = page.hasMore;
    this.messages = [...before, ...page.messages, ...after];
    this.ids = new Set(this.messages.map((message) => message.id));
    this.loaded = true;
    this.problem = null;
    for (const message of this.held ?? []) this.append(message);
    this.held = null;
  }
}
