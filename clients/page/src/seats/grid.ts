import { now } from '../api';
import { h, initial, say, unseen } from '../dom';
import { called } from '../names';
import type { Person } from '../people';
import { countdown, exactTime } from '../time';
import type { Seat } from './board';

const columns = 10;

/** Where a seat is: the row's letter and the place in it. */
export function place(index: number): string {
  return `${String.fromCharCode(65 + (Math.floor(index / columns) % 26))}${(index % columns) + 1}`;
}

interface Cell {
  button: HTMLButtonElement;
  mark: HTMLElement;
  time: HTMLElement;
  words: HTMLElement;
}

/** The map: one seat is in the tab order, the arrows go to the others. */
export class Grid {
  readonly element = h('div', { class: 'grid', role: 'grid', 'aria-label': 'Seats', on: { keydown: (event) => this.key(event) } });
  private cells: Cell[] = [];
  private ids: string[] = [];
  private at = 0;

  constructor(
    private readonly press: (seatId: string) => void,
    private readonly look: (seatId: string) => void,
  ) {}

  /** The name of a seat, as people say it. */
  nameOf(seatId: string): string {
    return place(Math.max(0, this.ids.indexOf(seatId)));
  }

  draw(seats: ReadonlyMap<string, Seat>, me: Person): void {
    const ids = [...seats.keys()];
    if (ids.join() !== this.ids.join()) this.build(ids);
    ids.forEach((id, index) => {
      const seat = seats.get(id);
      const cell = this.cells[index];
      if (seat !== undefined && cell !== undefined) this.drawSeat(cell, seat, place(index), me);
    });
  }

  private build(ids: string[]): void {
    this.ids = ids;
    this.at = Math.min(this.at, Math.max(0, ids.length - 1));
    this.cells = ids.map((id, index) => {
      const mark = h('span', { class: 'mark', 'aria-hidden': 'true' });
      const time = h('span', { class: 'left', 'aria-hidden': 'true' });
      const words = unseen('');
      const button = h(
        'button',
        { type: 'button', class: 'seat', role: 'gridcell', data: { seat: id }, tabindex: index === this.at ? '0' : '-1', on: { click: () => this.press(id), focus: () => this.focused(index) } },
        mark,
        time,
        words,
      );
      return { button, mark, time, words };
    });
    const rows: HTMLElement[] = [];
    for (let start = 0; start < ids.length; start += columns) {
      const letter = h('span', { class: 'row-letter', role: 'rowheader' }, place(start).slice(0, 1));
      rows.push(h('div', { class: 'seat-row', role: 'row' }, letter, ...this.cells.slice(start, start + columns).map((cell) => cell.button)));
    }
    this.element.replaceChildren(...rows);
  }

  private drawSeat(cell: Cell, seat: Seat, name: string, me: Person): void {
    const { button } = cell;
    const own = seat.heldBy === me.id && seat.status !== 'AVAILABLE';
    const left = seat.heldUntil === undefined ? 0 : Date.parse(seat.heldUntil) - now();
    button.dataset['status'] = seat.status;
    button.classList.toggle('own', own);
    say(cell.mark, seat.status === 'AVAILABLE' ? name.slice(1) : seat.heldBy === undefined ? '×' : initial(called(seat.heldBy)));
    const holder = own ? ' by you' : seat.heldBy === undefined ? '' : ` by ${called(seat.heldBy)}`;
    if (seat.status === 'AVAILABLE') say(cell.words, `${name}, available`);
    else if (seat.status === 'RESERVED') say(cell.words, `${name}, reserved${holder}`);
    else say(cell.words, `${name}, held${holder} until ${exactTime(seat.heldUntil ?? '')}`);
    say(cell.time, seat.status === 'HELD' ? countdown(left) : '');
    if (button.title !== cell.words.textContent) button.title = cell.words.textContent ?? '';
  }

  private focused(index: number): void {
    this.cells[this.at]?.button.setAttribute('tabindex', '-1');
    this.at = index;
    this.cells[index]?.button.setAttribute('tabindex', '0');
    const id = this.ids[index];
    if (id !== undefined) this.look(id);
  }

  private key(event: KeyboardEvent): void {
    const start = this.at - (this.at % columns);
    const end = Math.min(start + columns, this.ids.length) - 1;
    const to: Record<string, number> = {
      ArrowLeft: Math.max(this.at - 1, start),
      ArrowRight: Math.min(this.at + 1, end),
      ArrowUp: this.at - columns,
      ArrowDown: this.at + columns,
      Home: event.ctrlKey ? 0 : start,
      End: event.ctrlKey ? this.ids.length - 1 : end,
    };
    const index = to[event.key];
    if (index === undefined) return;
    event.preventDefault();
    this.cells[index]?.button.focus();
  }
}
