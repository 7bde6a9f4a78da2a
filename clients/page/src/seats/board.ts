import { type Ready, type State, type Stream, connect } from '../../../js/src/index';
import { Refusal, ask, pause } from '../api';
import { type Person, credential } from '../people';
import { signal } from '../signal';

export interface Seat {
  scheduleSeatId: string;
  status: 'AVAILABLE' | 'HELD' | 'RESERVED';
  heldBy?: string;
  heldUntil?: string;
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
  private resting = false;
  private early: Seat[] | null = [];

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
    const stream = connect(`${this.path}/events`, { params: { userId: this.watcher.id }, ...credential(this.watcher) });
    this.stream = stream;
    if (this.resting) stream.close();
    stream.on('state', (state: State) => {
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
      if (this.early === null) this.put([seat]);
      else this.early.push(seat);
      this.flowed.say();
    });
  }

  /** Gives the connection back while nobody looks; what was missed comes with the next one. */
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
  }

  /** Throws a Refusal: 409 with who was first. */
  async act(person: Person, seat: Seat, act: Act): Promise<void> {
    this.put([await ask<Seat>(person, `${this.path}/${encodeURIComponent(seat.scheduleSeatId)}/${act}`, { method: 'POST' })]);
  }

  /** A conflict tells what the seat is; its status goes by another name there. */
  refused(refusal: Refusal): Seat | null {
    const { scheduleSeatId, seatStatus, heldBy, heldUntil } = refusal.problem as Partial<Seat> & { seatStatus?: Seat['status'] };
    if (refusal.status !== 409 || scheduleSeatId === undefined || seatStatus === undefined) return null;
    const seat: Seat = { scheduleSeatId, status: seatStatus, ...(heldBy === undefined ? {} : { heldBy }), ...(heldUntil === undefined ? {} : { heldUntil }) };
    this.put([seat]);
    return seat;
  }

  private get path(): string {
    return `/api/schedules/${encodeURIComponent(this.schedule)}/seats`;
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
      const seat = { ...given, scheduleSeatId: id };
      const before = this.seats.get(id);
      if (before !== undefined && before.status === seat.status && before.heldBy === seat.heldBy && before.heldUntil === seat.heldUntil) continue;
      this.seats.set(id, seat);
      changed.push(seat);
    }
    if (changed.length > 0) this.changed.say(changed);
  }
}
