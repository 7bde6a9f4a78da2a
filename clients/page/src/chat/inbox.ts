import { type Ready, type State, type Stream, connect } from '../../../js/src/index';
import { Refusal, pathTo, pause } from '../api';
import { call, learn, meet } from '../names';
import { type Person, credential, other } from '../people';
import { signal } from '../signal';
import * as gateway from './gateway';
import { type Message, type Pending, type Room, type RoomUpdate, Rooms, Thread } from './model';
import { Outbox } from './outbox';
import { Reading } from './reading';


/** What keeps a person out of the chat altogether. */
export type Barrier = 'none' | 'token' | 'off' | 'name';

/**
 * The chat of one person: one stream for all of it, and what has to be asked for beside. Knows nothing of the page.
 *
 * The stream carries the messages of all the rooms, so it is opened first and everything else is read afterwards: what happens in
 * between comes twice and is put in once.
 */
export class Inbox {
  readonly rooms = new Rooms();
  readonly threads = new Map<string, Thread>();
  readonly outbox: Outbox;
  openRoom: string | null = null;
  /** The red dot: driven by the events alone, as another device of the same person would have it. */
  dot = false;
  barrier: Barrier = 'none';
  why = '';
  /** Another window has the connection. */
  resting = false;
  state = 'connecting';
  node = '';
  /** Whether the person is looking: what arrives in the open room counts as read. */
  attentive: () => boolean = () => false;

  readonly roomsChanged = signal();
  readonly threadChanged = signal<string>();
  readonly statusChanged = signal();
  /** A room is no longer ours: which came in its place, and whether that is what the person here wanted. */
  readonly roomGone = signal<{ room: Room; successor: string | null; wanted: boolean }>();
  /** Every event of the stream, for whoever draws it. */
  readonly flowed = signal();

  private stream: Stream | null = null;
  private closed = false;
  private early: Message[] | null = [];
  private readonly reading: Reading;
  private parting: string | null = null;
  private again: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly person: Person) {
    this.outbox = new Outbox(person, (pending) => this.threadChanged.say(pending.roomId), (roomId, id) => this.thread(roomId).has(id));
    this.reading = new Reading(person, () => this.unread(), (roomId) => this.rooms.get(roomId), () => this.roomsChanged.say());
  }

  async start(): Promise<void> {
    if (!(await this.admitted()) || this.closed) return;
    const stream = connect(pathTo('v1/events'), { params: { userId: this.person.id }, shared: true, ...credential(this.person) });
    this.stream = stream;
    if (this.resting) stream.close();
    stream.on('state', (state: State) => {
      this.state = this.resting ? 'elsewhere' : state;
      this.statusChanged.say();
      if (state !== 'open') return;
      this.outbox.hurry();
      if (this.early === null && this.openRoom !== null && !this.thread(this.openRoom).loaded) void this.latest(this.openRoom);
    });
    stream.on('ready', (ready: Ready) => {
      this.node = ready.node;
      this.statusChanged.say();
      if (this.early !== null) void this.load();
    });
    stream.on('reset', () => void this.load());
    stream.on('error', ({ status }) => {
      if (status === 401) this.hinder('token'); // expired, or withdrawn
    });
    const on = <T>(event: string, handler: (data: T) => void): void => {
      stream.on(event, (data: T) => {
        handler(data);
        this.flowed.say();
      });
    };
    on('chat', (message: Message) => (this.early === null ? this.arrive(message) : this.early.push(message)));
    on('chat-room-update', (update: RoomUpdate) => void this.update(update));
    on('chat-room-removed', ({ chatRoomId }: { chatRoomId: string }) => this.forget(chatRoomId));
    on('nav-new-message', () => this.light(true));
    on('nav-no-any-new-message', () => this.light(false));
  }

  /** Gives the connection to another window. */
  rest(): void {
    this.resting = true;
    this.stream?.close();
  }

  wake(): void {
    this.resting = false;
    this.stream?.open();
  }

  close(): void {
    this.closed = true;
    this.stream?.close();
    this.outbox.close();
  }

  thread(roomId: string): Thread {
    const thread = this.threads.get(roomId) ?? new Thread();
    this.threads.set(roomId, thread);
    return thread;
  }

  pending(roomId: string): Pending[] {
    return this.outbox.items.filter((item) => item.roomId === roomId && item.shadow === null);
  }

  async enter(roomId: string): Promise<void> {
    this.openRoom = roomId;
    this.roomsChanged.say();
    this.threadChanged.say(roomId);
    if (!this.thread(roomId).loaded) await this.latest(roomId);
    this.read();
  }

  async add(roomId: string, user: string): Promise<void> {
    this.put(await gateway.add(this.person, roomId, user));
  }

  /** Is no longer in the room, one way or the other. */
  async end(roomId: string, how: typeof gateway.leave | typeof gateway.destroy): Promise<void> {
    this.parting = roomId; // the stream may say it before the answer
    try {
      await how(this.person, roomId);
      this.forget(roomId);
    } finally {
      this.parting = null;
    }
  }

  /** The other person on this page is somebody else from now on. */
  async meet(): Promise<void> {
    if (this.early !== null) return; // not there yet: it will
    const room = await this.meeting().catch(() => undefined);
    if (room !== undefined) await this.enter(room.id);
  }

  leave(): void {
    this.openRoom = null;
    this.roomsChanged.say();
  }

  async older(roomId: string): Promise<void> {
    const thread = this.thread(roomId);
    const before = thread.messages[0]?.id;
    thread.prepend(await gateway.messages(this.person, roomId, before));
    this.threadChanged.say(roomId);
  }

  async invite(people: string[], name: string): Promise<Room> {
    const room = await gateway.invite(this.person, people, name);
    this.put(room);
    return room;
  }

  /** Says that the open room is read, if there was anything new, it is there to be seen, and the person is looking. */
  read(): void {
    this.reading.look();
  }

  private unread(): Room | undefined {
    const room = this.rooms.get(this.openRoom ?? '');
    return room !== undefined && room.unreadCount > 0 && this.thread(room.id).loaded && this.attentive() ? room : undefined;
  }

  /** Whether the chat is there and open to this person; asks until it is known. */
  private async admitted(): Promise<boolean> {
    for (let wait = 500; !this.closed; wait = Math.min(wait * 2, 8_000)) {
      try {
        this.keep(await gateway.rooms(this.person));
        this.hinder('none');
        return true;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (error.status === 404) this.hinder('off');
        else if (error.status === 401 || error.status === 403) this.hinder('token');
        else if (error.status === 400) this.hinder('name', error.message);
        else {
          this.state = 'offline';
          this.statusChanged.say();
          await pause(wait);
          continue;
        }
        return false;
      }
    }
    return false;
  }

  private async load(): Promise<void> {
    this.early ??= [];
    void learn(this.person);
    const before = new Map(this.rooms);
    while (!this.closed) {
      try {
        this.keep(await gateway.rooms(this.person));
        for (const [id, thread] of this.threads) if (id !== this.openRoom) thread.loaded = false; // read when it is entered
        if (this.openRoom === null || !this.rooms.has(this.openRoom)) this.openRoom = (await this.meeting())?.id ?? null;
        await this.succeed(before);
        break;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (error.status === 401) return this.hinder('token');
        await pause(1_000);
      }
    }
    if (this.openRoom !== null) await this.latest(this.openRoom);
    const early = this.early ?? [];
    this.early = null;
    for (const message of early) this.arrive(message, true);
    this.dot = [...this.rooms.values()].some((room) => room.unreadCount > 0);
    this.roomsChanged.say();
    this.statusChanged.say();
    this.read();
  }

  /** The gateway has lost rooms. Two people have one in its place as soon as they want to; a larger one is gone. */
  private async succeed(before: Map<string, Room>): Promise<void> {
    for (const room of before.values()) {
      if (this.rooms.has(room.id)) continue;
      const partner = room.participants.find((id) => id !== this.person.id) ?? '';
      const same = room.direct ? this.rooms.withOnly(partner) : undefined;
      const written = room.direct && this.pending(room.id).length > 0;
      const successor = same ?? (written ? await this.invite([partner], '') : undefined);
      before.delete(room.id);
      this.part(room, successor?.id ?? null);
    }
  }

  /** Where the two on this page meet, so that there is somebody to write to at once; else the liveliest room. */
  private async meeting(): Promise<Room | undefined> {
    const partner = other(this.person);
    // Where there are keys, the other's name is a guess until there is a token of theirs, too.
    const known = this.person.token === null || partner.token !== null;
    return this.rooms.withOnly(partner.id) ?? (known ? await this.invite([partner.id], '') : this.rooms.sorted()[0]);
  }

  /** The latest messages; if they can't be had, the thread says why. */
  async latest(roomId: string): Promise<void> {
    const thread = this.thread(roomId);
    thread.expect();
    try {
      const page = await gateway.messages(this.person, roomId);
      thread.replace(page);
      for (const message of page.messages) this.outbox.arrived(message);
      meet(this.person, page.messages.map(({ senderId }) => senderId));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      thread.fail(error.message);
      if (error.passing && !this.closed) this.later(roomId, error.retryAfter);
    }
    this.threadChanged.say(roomId);
    if (roomId === this.openRoom) this.read();
  }

  /** Nobody has to try again by hand what will pass. */
  private later(roomId: string, seconds: number | null): void {
    clearTimeout(this.again);
    this.again = setTimeout(() => {
      if (!this.closed && roomId === this.openRoom && this.thread(roomId).problem !== null) void this.latest(roomId);
    }, (seconds ?? 5) * 1_000);
  }

  private keep(rooms: Room[]): void {
    this.rooms.clear();
    for (const room of rooms) this.rooms.set(room.id, room);
    meet(this.person, rooms.flatMap((room) => room.participants));
    this.roomsChanged.say();
  }

  private put(room: Room): void {
    this.rooms.set(room.id, room);
    meet(this.person, room.participants);
    this.roomsChanged.say();
  }

  /** `early`: it came while the rooms were read, and may be counted there. */
  private arrive(message: Message, early = false): void {
    const room = this.rooms.get(message.roomId);
    if (room === undefined) return void this.fetch(message.roomId);
    this.outbox.arrived(message);
    const thread = this.threads.get(message.roomId);
    const last = room.lastMessage;
    if (thread?.loaded !== true) thread?.hold(message);
    const fresh = thread?.loaded === true ? thread.append(message) : early ? message.createdAt > (last?.createdAt ?? '') : message.id !== last?.id;
    if (fresh) {
      if (message.senderId !== this.person.id && message.messageType === 'MESSAGE') room.unreadCount += 1;
      if (message.createdAt >= (last?.createdAt ?? '')) room.lastMessage = message;
      this.roomsChanged.say();
    }
    this.threadChanged.say(message.roomId);
    if (message.roomId === this.openRoom) this.read();
    if (message.messageType !== 'MESSAGE') void this.fetch(message.roomId);
  }

  private async update(update: RoomUpdate): Promise<void> {
    const room = this.rooms.get(update.chatRoomId);
    if (room === undefined) return this.fetch(update.chatRoomId);
    const partner = room.participants.find((id) => id !== this.person.id);
    if (room.direct && partner !== undefined) call(partner, update.partnerNickname);
    if (!update.isRead || room.unreadCount === 0) return;
    room.unreadCount = 0;
    this.roomsChanged.say();
  }

  private async fetch(roomId: string): Promise<void> {
    try {
      this.put(await gateway.room(this.person, roomId));
    } catch (error) {
      if (!(error instanceof Refusal) || error.passing) return;
      this.forget(roomId);
    }
  }

  /** The room is deleted, or no longer ours. */
  private forget(roomId: string): void {
    const room = this.rooms.get(roomId);
    if (room === undefined) return;
    this.rooms.delete(roomId);
    if (this.openRoom === roomId) this.openRoom = null;
    this.part(room, null);
    this.roomsChanged.say();
  }

  private part(room: Room, successor: string | null): void {
    this.threads.delete(room.id);
    if (successor !== null) this.outbox.move(room.id, successor, 'The gateway has lost this room and made it anew.');
    this.roomGone.say({ room, successor, wanted: this.parting === room.id });
    for (const item of this.pending(room.id)) this.outbox.drop(item);
    if (successor !== null) this.threadChanged.say(successor);
  }

  private light(on: boolean): void {
    this.dot = on;
    if (!on) for (const room of this.rooms.values()) room.unreadCount = 0;
    this.roomsChanged.say();
  }

  private hinder(barrier: Barrier, why = ''): void {
    this.barrier = barrier;
    this.why = why;
    this.statusChanged.say();
  }
}
