import { announce } from '../announce';
import { Refusal, now } from '../api';
import { badge } from '../badge';
import { fill, h, say } from '../dom';
import { called, named } from '../names';
import { type Person, changed as peopleChanged, people } from '../people';
import { whileSeen } from '../seen';
import { pulse } from '../tide';
import { countdown, exactTime } from '../time';
import { inUse, self, sharing, turns } from '../turns';
import { type Act, Board, type Seat, refused } from './board';
import { Grid } from './grid';

const schedules = ['1', '2', '3'];
// A crowd's changes are told together.
const telling = 1_200;

/** The seat map: who holds what and for how long. */
export function seats(section: HTMLElement): void {
  let me: Person = people[0];
  let board: Board;
  let looked: string | null = null;
  let others: Seat[] = [];
  let timer: number | undefined;
  let seen = true;

  const status = badge();
  const schedule = h('select', { id: 'schedule', on: { change: () => open() } }, ...schedules.map((id) => h('option', { value: id }, `Schedule ${id}`)));
  const actors = people.map((person) => h('button', { type: 'button', data: { slot: String(person.slot) }, on: { click: () => act(person) } }, called(person.id)));
  const grid = new Grid((id) => void press(id), (id) => {
    looked = id;
    draw();
  });
  const legend = h('ul', { class: 'legend', 'aria-label': 'Colours' }, ...(['AVAILABLE', 'HELD', 'RESERVED'] as const).map((state) => h('li', {}, h('i', { data: { status: state } }), h('span', {}, ''))));
  const about = h('p', { class: 'about-seat' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  const reserve = h('button', { type: 'button', class: 'primary', on: { click: () => void each('reserve') } });
  const release = h('button', { type: 'button', on: { click: () => void each('release') } }, 'Let go');
  const barrier = h('p', { class: 'notice', hidden: true });
  const hall = h(
    'div',
    { class: 'hall' },
    h('div', { class: 'stage', 'aria-hidden': 'true' }, 'Stage'),
    grid.element,
    legend,
    h('div', { class: 'seat-bar' }, h('div', {}, about, problem), h('div', { class: 'row' }, release, reserve)),
  );
  section.append(
    h(
      'div',
      { class: 'card' },
      h('div', { class: 'controls' }, h('label', { for: 'schedule', class: 'unseen' }, 'Schedule'), schedule, h('div', { class: 'as' }, 'as', h('div', { class: 'segments', role: 'group', 'aria-label': 'Act as' }, ...actors)), status.element),
      barrier,
      hall,
    ),
  );

  function open(): void {
    board?.close();
    others = [];
    looked = null;
    say(problem, '');
    board = new Board(schedule.value, me);
    const mine = board;
    board.flowed.on(pulse);
    board.changed.on((changes) => {
      if (mine !== board) return;
      draw();
      tell(changes);
    });
    board.statusChanged.on(() => mine === board && drawStatus());
    drawStatus();
    draw();
    if (!seen) board.rest();
    else take();
    void board.start();
  }

  function act(person: Person): void {
    me = person;
    say(problem, '');
    draw();
  }

  async function press(id: string): Promise<void> {
    let seat = board.seats.get(id);
    if (seat === undefined) return;
    if (seat.status === 'HELD' && seat.heldBy === undefined) {
      // The stream does not say whose a seat is: another window of this person may hold it.
      await board.learn(me);
      seat = board.seats.get(id) ?? seat;
    }
    if (seat.status === 'HELD' && seat.heldBy === me.id) return perform(seat, 'release');
    if (seat.status === 'AVAILABLE') return perform(seat, 'hold');
    const words = taken(seat, grid.nameOf(id));
    say(problem, words);
  }

  async function each(what: Act): Promise<void> {
    for (const seat of held()) await perform(seat, what);
    grid.element.querySelector<HTMLElement>('[tabindex="0"]')?.focus();
  }

  async function perform(seat: Seat, what: Act): Promise<void> {
    const name = grid.nameOf(seat.scheduleSeatId);
    say(problem, '');
    try {
      await board.act(me, seat, what);
      announce({ hold: `You hold ${name}.`, release: `You let go of ${name}.`, reserve: `${name} is yours.` }[what]);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const now = refused(error);
      if (error.status === 401) say(problem, 'This gateway asks who you are: give a token at the chat.');
      else say(problem, now === null || now.status === 'AVAILABLE' ? error.message : taken(now, name));
      nudge(seat.scheduleSeatId);
    }
  }

  const held = (): Seat[] => [...board.seats.values()].filter((seat) => seat.status === 'HELD' && seat.heldBy === me.id);

  function taken(seat: Seat, name: string): string {
    const reserved = seat.status === 'RESERVED' || seat.heldUntil === undefined;
    const until = reserved ? '' : ` until ${exactTime(Date.parse(seat.heldUntil ?? ''))}`;
    if (seat.heldBy === undefined) return `${name} is ${reserved ? 'reserved' : 'held'}${until}.`;
    const who = seat.heldBy === me.id ? 'You' : called(seat.heldBy);
    return `${who} ${reserved ? 'reserved' : who === 'You' ? 'hold' : 'holds'} ${name}${until}.`;
  }

  /** A refused seat shakes its head. */
  function nudge(id: string): void {
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
    grid.element.querySelector(`[data-seat="${CSS.escape(id)}"]`)?.animate([{ translate: '0' }, { translate: '-3px' }, { translate: '3px' }, { translate: '0' }], { duration: 90, iterations: 3 });
  }

  function draw(): void {
    grid.draw(board.seats, me);
    actors.forEach((button, at) => {
      const person = people[at] ?? me;
      say(button, called(person.id));
      button.setAttribute('aria-pressed', String(person === me));
    });
    const all = [...board.seats.values()];
    const count = (state: Seat['status']): number => all.filter((seat) => seat.status === state).length;
    const words = [`${count('AVAILABLE')} available`, `${count('HELD')} held`, `${count('RESERVED')} reserved`];
    legend.querySelectorAll('span').forEach((span, at) => say(span, words[at] ?? ''));
    const mine = held();
    reserve.disabled = release.disabled = mine.length === 0;
    say(reserve, mine.length > 1 ? `Reserve ${mine.length} seats` : 'Reserve');
    say(about, aboutText(mine));
    hall.dataset['slot'] = String(me.slot);
  }

  function aboutText(mine: Seat[]): string {
    if (mine.length > 0) {
      const ends = Math.min(...mine.map((seat) => Date.parse(seat.heldUntil ?? '')));
      const names = mine.map((seat) => grid.nameOf(seat.scheduleSeatId)).join(', ');
      return `${called(me.id)} holds ${names}${Number.isFinite(ends) ? `, ${countdown(ends - now())} left` : ''}.`;
    }
    const seat = looked === null ? undefined : board.seats.get(looked);
    if (seat === undefined || seat.status === 'AVAILABLE') return 'Choose a seat to hold it.';
    if (seat.status === 'RESERVED') return taken(seat, grid.nameOf(seat.scheduleSeatId));
    const name = grid.nameOf(seat.scheduleSeatId);
    const held = seat.heldBy === undefined ? `${name} is held` : `${called(seat.heldBy)} holds ${name}`;
    return `${held}, ${countdown(Date.parse(seat.heldUntil ?? '') - now())} left.`;
  }

  function drawStatus(): void {
    const refusal = board.barrier;
    status.show(refusal === null ? board.state : refusal.status === 404 ? 'off' : 'refused', board.node);
    barrier.hidden = refusal === null;
    hall.hidden = refusal !== null;
    if (refusal?.status === 404) fill(barrier, 'Seats are not switched on at this gateway. Their setting is ', h('code', {}, 'apps.seats'), '.');
    else if (refusal?.status === 401) fill(barrier, 'This gateway asks who you are: give a token at the chat.');
    else if (refusal !== null) fill(barrier, refusal.message);
  }

  /** Others' changes, for screen readers: one is told, a crowd is counted. */
  function tell(changes: Seat[]): void {
    others.push(...changes.filter((seat) => seat.heldBy !== me.id));
    if (timer !== undefined || others.length === 0 || others.length >= board.seats.size) return void (others = timer === undefined ? [] : others);
    timer = window.setTimeout(() => {
      timer = undefined;
      // The stream does not say whose a seat is: by now the answers have.
      others = others.filter((seat) => board.seats.get(seat.scheduleSeatId)?.heldBy !== me.id);
      const [only] = others;
      const ids = new Set(others.map((seat) => seat.scheduleSeatId));
      if (ids.size > 1) announce(`${ids.size} seats changed.`);
      else if (only !== undefined) {
        const last = others.at(-1) ?? only;
        const name = grid.nameOf(only.scheduleSeatId);
        announce(last.status === 'AVAILABLE' ? `${name} is available.` : taken(last, name));
      }
      others = [];
    }, telling);
  }

  window.setInterval(() => seen && board.seats.size > 0 && draw(), 1_000);
  peopleChanged.on((person) => {
    if (person.slot === 0) open(); // the watcher's token
    else void board.learn(person).then(draw);
  });
  named.on(draw);

  // Windows that show the same seats share a stream. Of those that show others, the one in use has it.
  const take = turns('seats', () => (sharing ? `${schedule.value} ${people[0].id}` : self), () => board.rest('elsewhere'));
  const wake = (): void => {
    if (!seen) return;
    take();
    board.wake();
  };
  open();
  inUse(() => board.state === 'elsewhere' && wake());
  whileSeen(
    section,
    () => {
      seen = true;
      wake();
    },
    () => {
      seen = false;
      board.rest();
    },
  );
}
