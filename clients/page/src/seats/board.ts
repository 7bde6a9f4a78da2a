import { type Ready, type State, type Stream, connect } from '../../../js/src/index';
import { Refusal, ask, pathTo, pause } from '../api';
import { type Person, credential, people } from '../people';
import { signal } from '../signal';

export interface Seat {
  scheduleSeatId: string;
  status: 'AVAILABLE' | 'HELD' | 'RESERVED';
  /** Only holders are told, unless the gateway shows it to everybody. */
  heldBy?: string;
  heldUntil?: string;
  /** Of a change: since when. */
  timestamp?: string;
}

export type Act = 'hold' | 'release' | 'reserve';

/** The seats of one schedule, as the gateway says they are. */
export class Board {
  readonly seats = new Map<string, Seat>();
  state = 'connecting';
  node = '';
  /** Why there is nothing to see, if so. */
  barrier: Refusal | null = null;

  readonly changed = signal<Seat[]>();
  readonly statusChanged = signal();
  readonly flowed = signal();
  private stream: Stream | null = null;
  private closed = false;
  private started = false;
  private resting = false;
  private early: Seat[] | null = [];
  /** How often the stream has said something of a seat. */
  private readonly told = new Map<string, number>();

  constructor(
    readonly schedule: string,
    private readonly watcher: Person,
  ) {}

  async start(): Promise<void> {
    const barrier = await this.read();
    if (this.closed) return;
    this.barrier = barrier;
    this.statusChanged.say();
    if (barrier !== null) return;
    this.started = true;
    if (!this.resting) this.listen();
  }

  /** One connection for all windows that show this schedule. */
  private listen(): void {
    const stream = connect(pathTo(`${this.path}/events`), { params: { userId: this.watcher.id }, shared: true, ...credential(this.watcher) });
    this.stream = stream;
    this.early ??= [];
    stream.on('state', (state: State) => {
      if (stream !== this.stream) return;
      this.state = state;
      this.statusChanged.say();
    });
    stream.on('ready', (ready: Ready) => {
      this.node = ready.node;
      this.statusChanged.say();
      if (this.early !== null) void this.read();
    });
    stream.on('reset', () => void this.read());
    stream.on('seatStatusChange', (seat: Seat) => {
      const id = String(seat.scheduleSeatId);
      this.told.set(id, this.times(id) + 1);
      if (this.early === null) this.put([seat]);
      else this.early.push(seat);
      this.flowed.say();
    });
  }

  /** Gives the connection back, for the reason that is its state meanwhile. */
  rest(state = 'closed'): void {
    if (this.resting) return;
    this.resting = true;
    this.stream?.close();
    this.stream = null;
    this.state = state;
    this.statusChanged.say();
  }

  /** Seats are a state and no history: what was missed comes with reading them anew. */
  wake(): void {
    if (!this.resting || this.closed) return;
    this.resting = false;
    if (this.started) this.listen();
  }

  close(): void {
    this.closed = true;
    this.stream?.close();
  }

  /** Throws a Refusal: 409 with how the seat stands. */
  async act(person: Person, { scheduleSeatId: id }: Seat, act: Act): Promise<void> {
    const before = this.times(id);
    try {
      const seat = await ask<Seat>(person, `${this.path}/${encodeURIComponent(id)}/${act}`, { method: 'POST' });
      this.answer(id, before, seat);
    } catch (error) {
      const seat = error instanceof Refusal ? refused(error) : null;
      if (seat !== null) this.answer(id, before, seat);
      throw error;
    }
  }

  /** An answer may be late: what the stream said since it was asked for is newer, or will be followed by what is. */
  private answer(id: string, before: number, seat: Seat): void {
    if (this.times(id) === before) this.put([seat]);
    else this.claim(seat);
  }

  /** Asks which seats are a person's: the stream does not say. */
  async learn(person: Person): Promise<void> {
    try {
      for (const seat of await ask<Seat[]>(person, this.path)) this.claim(seat);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }

  /** Takes over who holds a seat, if it is still as in the answer that says so. */
  private claim(seat: Seat): void {
    const known = this.seats.get(String(seat.scheduleSeatId));
    if (seat.heldBy !== undefined && known !== undefined && same(known, seat)) this.put([seat]);
  }

  private times(id: string): number {
    return this.told.get(id) ?? 0;
  }

  private get path(): string {
    return `api/schedules/${encodeURIComponent(this.schedule)}/seats`;
  }

  /** All seats. What changes while they are read is put in afterwards. Answers why not, if it can't be. */
  private async read(): Promise<Refusal | null> {
    this.early ??= [];
    for (let wait = 500; !this.closed; wait = Math.min(wait * 2, 8_000)) {
      try {
        const seats = await ask<Seat[]>(this.watcher, this.path);
        const early = this.early ?? [];
        if (this.stream !== null) this.early = null;
        this.put([...seats, ...early]);
        for (const seat of seats) this.claim(seat);
        for (const person of people) if (person !== this.watcher) void this.learn(person);
        return null;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (!error.passing) return error;
        this.state = 'offline';
        this.statusChanged.say();
        await pause(wait);
      }
    }
    return null;
  }

  private put(seats: Seat[]): void {
    const changed: Seat[] = [];
    for (const given of seats) {
      const id = String(given.scheduleSeatId);
      const before = this.seats.get(id);
      const heldBy = holder(given, before);
      const seat: Seat = { ...given, scheduleSeatId: id, ...(heldBy === undefined ? {} : { heldBy }) };
      if (before !== undefined && same(before, seat) && before.heldBy === seat.heldBy) continue;
      this.seats.set(id, seat);
      changed.push(seat);
    }
    if (changed.length > 0) this.changed.say(changed);
  }
}

const same = (one: Seat, other: Seat): boolean => one.status === other.status && one.heldUntil === other.heldUntil;

/** Who holds a seat, as far as this page was told. What happens to a seat within a hold is done by its holder. */
function holder(seat: Seat, before: Seat | undefined): string | undefined {
  if (seat.heldBy !== undefined || seat.status === 'AVAILABLE' || before === undefined) return seat.heldBy;
  const within = before.heldUntil !== undefined && seat.timestamp !== undefined && seat.timestamp < before.heldUntil;
  return within || same(before, seat) ? before.heldBy : undefined;
}

/** A conflict tells what the seat is; its status goes by another name there. */
export function refused(refusal: Refusal): Seat | null {
  const { scheduleSeatId, seatStatus, heldBy, heldUntil } = refusal.problem as Partial<Seat> & { seatStatus?: Seat['status'] };
  if (refusal.status !== 409 || scheduleSeatId === undefined || seatStatus === undefined) return null;
  return { scheduleSeatId, status: seatStatus, ...(heldBy === undefined ? {} : { heldBy }), ...(heldUntil === undefined ? {} : { heldUntil }) };
}
