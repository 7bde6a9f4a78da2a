import { h, say } from '../dom';
import { exactTime } from '../time';
import { type Block, pretty, short } from './wire';

// A stream is endless, a page is not.
const most = 500;

/** One or two lines of data, indented data, or the bytes. */
export type Form = 'compact' | 'pretty' | 'raw';

type Entry = { block: Block; caughtUp: boolean } | { note: HTMLElement; at: number };

/** What came over the wire, the latest last. */
export class Log {
  readonly element = h('div', { class: 'wire', role: 'log', 'aria-live': 'off', 'aria-label': 'Events as they were sent', tabindex: '0' });
  readonly waiting = h('span', { class: 'waiting' });
  private readonly list = h('ol');
  private entries: Entry[] = [];
  private held: Entry[] = [];
  private needle = '';
  private form: Form = 'compact';
  private paused = false;

  constructor() {
    this.element.append(this.list);
    this.element.dataset['form'] = this.form;
  }

  add(block: Block, caughtUp: boolean): void {
    this.take({ block, caughtUp });
  }

  /** A line of ours between the lines of the gateway. The caller may go on writing in it. */
  note(...text: (Node | string)[]): HTMLElement {
    const note = h('span', {}, ...text);
    this.take({ note, at: Date.now() });
    return note;
  }

  set filter(text: string) {
    this.needle = text.toLowerCase();
    this.redraw();
  }

  set show(form: Form) {
    this.form = form;
    this.element.dataset['form'] = form;
    this.redraw();
  }

  set hold(paused: boolean) {
    this.paused = paused;
    if (!paused) for (const entry of this.held.splice(0)) this.take(entry);
    this.countHeld();
  }

  clear(): void {
    this.entries = [];
    this.held = [];
    this.redraw();
    this.countHeld();
  }

  private take(entry: Entry): void {
    if (this.paused) {
      this.held.push(entry);
      if (this.held.length > most) this.held.shift();
      return this.countHeld();
    }
    this.entries.push(entry);
    const { element } = this;
    const following = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    if (this.entries.length > most) {
      const gone = this.entries.shift();
      if (gone !== undefined && this.fits(gone)) this.list.firstElementChild?.remove();
    }
    if (this.fits(entry)) this.list.append(this.item(entry));
    if (following) element.scrollTop = element.scrollHeight;
  }

  private redraw(): void {
    this.list.replaceChildren(...this.entries.filter((entry) => this.fits(entry)).map((entry) => this.item(entry)));
    this.element.scrollTop = this.element.scrollHeight;
  }

  private fits(entry: Entry): boolean {
    return this.needle === '' || 'note' in entry || entry.block.raw.toLowerCase().includes(this.needle);
  }

  private countHeld(): void {
    say(this.waiting, this.held.length > 0 ? `${this.held.length} waiting` : '');
  }

  private item(entry: Entry): HTMLElement {
    if ('note' in entry) return h('li', { class: 'note' }, h('time', {}, exactTime(entry.at)), entry.note);
    const { block, caughtUp } = entry;
    const kind = block.comment ? 'comment' : block.event.startsWith('tidegate:') ? 'gateway' : 'event';
    const text = this.form === 'raw' ? block.raw : block.comment ? block.raw.replace(/^: ?/, '') : this.form === 'pretty' ? pretty(block.data) : block.data;
    return h(
      'li',
      { data: { kind }, class: caughtUp ? 'caught-up' : undefined },
      h('time', {}, exactTime(block.at)),
      h('b', {}, block.comment ? 'heartbeat' : block.event === '' ? 'position' : block.event),
      block.id !== '' && h('code', { class: 'id', title: block.id }, short(block.id)),
      caughtUp && h('span', { class: 'tag' }, 'missed, now here'),
      text !== '' && h('pre', {}, text),
    );
  }
}
