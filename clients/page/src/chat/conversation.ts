import { announce } from '../announce';
import { Refusal } from '../api';
import { fill, h, icon, say, unseen } from '../dom';
import { called, named } from '../names';
import { clockTime, dayOf } from '../time';
import type { Inbox } from './inbox';
import { roomMenu } from './menu';
import { type Message, type Pending, type Room, line, title } from './model';

// Messages of the same person within this time stand together.
const together = 4 * 60_000;

/** The open room: its messages, and where to write. */
export class Conversation {
  readonly element: HTMLElement;
  private readonly heading = h('h4');
  private readonly people = h('p', { class: 'people' });
  private readonly log = h('div', { class: 'log', role: 'log', 'aria-live': 'off', tabindex: '0' });
  private readonly list = h('ol', { class: 'messages' });
  private readonly older: HTMLButtonElement;
  private readonly composer: HTMLTextAreaElement;
  private readonly empty = h('p', { class: 'empty' });
  private readonly fresh: HTMLButtonElement;
  private readonly menu = h('div', { class: 'menu-place' });
  private readonly trouble = h('div', { class: 'trouble', role: 'alert' });
  private drawn = new Map<string, HTMLElement>();
  private room: string | null = null;
  /** What was begun in rooms that are not open. */
  private readonly drafts = new Map<string, string>();

  constructor(
    private readonly inbox: Inbox,
    back: () => void,
  ) {
    this.older = h('button', { type: 'button', class: 'quiet older', on: { click: () => void this.loadOlder() } }, 'Load older messages');
    this.composer = h('textarea', { rows: '1', dir: 'auto', 'aria-label': 'Message', placeholder: 'Write a message', maxlength: '4000', on: { keydown: (event) => this.key(event), input: () => this.grow() } });
    this.fresh = h('button', { type: 'button', class: 'fresh', hidden: true, on: { click: () => this.toEnd() } }, 'New messages ↓');
    const form = h(
      'form',
      { class: 'composer', on: { submit: (event) => (event.preventDefault(), this.send()) } },
      this.composer,
      h('button', { class: 'send', type: 'submit', 'aria-label': 'Send' }, icon('send')),
    );
    this.log.append(this.older, this.empty, this.trouble, this.list);
    this.log.addEventListener('scroll', () => this.atEnd() && (this.fresh.hidden = true), { passive: true });
    this.element = h(
      'div',
      { class: 'conversation' },
      h('header', {}, h('button', { class: 'icon-button back', type: 'button', 'aria-label': 'All rooms', on: { click: back } }, icon('back')), h('div', { class: 'who' }, this.heading, this.people), this.menu),
      h('div', { class: 'log-frame' }, this.log, this.fresh),
      form,
    );
    inbox.roomsChanged.on(() => this.drawHead());
    inbox.threadChanged.on((roomId) => roomId === inbox.openRoom && this.draw());
    named.on(() => this.rename());
    this.drawHead();
    this.draw();
  }

  /** Two conversations side by side would read each other's messages aloud twice. */
  set loud(loud: boolean) {
    this.log.setAttribute('aria-live', loud ? 'polite' : 'off');
  }

  focus(): void {
    this.composer.focus({ preventScroll: true });
  }

  shows(roomId: string): boolean {
    return roomId === this.room;
  }

  /** What was begun in a room, which is gone: it is not kept any longer. */
  takeDraft(roomId: string): string {
    const draft = roomId === this.room ? this.composer.value : (this.drafts.get(roomId) ?? '');
    this.drafts.delete(roomId);
    if (roomId === this.room) this.write('');
    return draft.trim();
  }

  putDraft(roomId: string, text: string): void {
    if (roomId === this.room) this.write(text);
    else this.drafts.set(roomId, text);
  }

  /** Somebody is called something else. */
  private rename(): void {
    this.drawn.clear();
    this.drawHead();
    this.draw();
  }

  private drawHead(): void {
    const room = this.inbox.openRoom === null ? undefined : this.inbox.rooms.get(this.inbox.openRoom);
    const me = this.inbox.person.id;
    const name = room === undefined ? '' : title(room, me);
    say(this.heading, name);
    say(this.people, room === undefined || room.direct ? '' : room.participants.map((id) => (id === me ? 'you' : called(id))).join(', '));
    this.people.title = this.heading.title = room?.participants.join(', ') ?? '';
    this.drawMenu(room);
    this.log.setAttribute('aria-label', `Messages with ${name}`);
    this.element.classList.toggle('nothing', room === undefined);
    this.composer.disabled = room === undefined;
    if (this.inbox.openRoom !== this.room) this.draw();
  }

  private drawMenu(room: Room | undefined): void {
    const state = room === undefined ? '' : `${room.id} ${room.participants.join()}`;
    if (this.menu.dataset['of'] === state) return;
    this.menu.dataset['of'] = state;
    fill(this.menu, room !== undefined && roomMenu(this.inbox, room));
  }

  private draw(): void {
    const { inbox } = this;
    const roomId = inbox.openRoom;
    if (roomId !== this.room) {
      if (this.room !== null) this.drafts.set(this.room, this.composer.value);
      this.write(this.drafts.get(roomId ?? '') ?? '');
      this.room = roomId;
      this.drawn.clear();
      this.list.replaceChildren();
      this.fresh.hidden = true;
    }
    if (roomId === null) return;
    const thread = inbox.thread(roomId);
    const pending = inbox.pending(roomId);
    const following = this.atEnd();
    const before = this.list.lastElementChild;

    const wanted = new Map<string, HTMLElement>();
    let previous: Message | null = null;
    for (const message of thread.messages) {
      wanted.set(message.id, this.drawn.get(message.id) ?? this.messageItem(message));
      this.arrange(wanted.get(message.id)!, message, previous);
      previous = message;
    }
    for (const item of pending) wanted.set(item.key, this.pendingItem(item, previous));
    this.place([...wanted.values()]);
    this.drawn = wanted;

    this.drawTrouble(thread.problem);
    this.older.hidden = !thread.hasMore;
    say(this.empty, thread.loaded && wanted.size === 0 ? 'Nothing said yet. The first word is yours.' : '');
    this.empty.hidden = this.empty.textContent === '';
    if (following || pending.length > 0) this.toEnd();
    else if (this.list.lastElementChild !== before && before !== null) this.fresh.hidden = false;
  }

  private drawTrouble(problem: string | null): void {
    if ((this.trouble.dataset['why'] ?? '') === (problem ?? '')) return;
    this.trouble.dataset['why'] = problem ?? '';
    const again = h('button', { type: 'button', on: { click: () => this.room !== null && void this.inbox.latest(this.room) } }, 'Try again');
    fill(this.trouble, problem !== null && h('p', { class: 'problem' }, `The messages can’t be shown. ${problem}`), problem !== null && again);
  }

  /** Puts the items in their order, touching only those that are not where they belong: what a screen reader is at stays. */
  private place(items: HTMLElement[]): void {
    let at: Element | null = this.list.firstElementChild;
    for (const item of items) {
      if (item === at) at = at.nextElementSibling;
      else this.list.insertBefore(item, at);
    }
    while (at !== null) {
      const next: Element | null = at.nextElementSibling;
      at.remove();
      at = next;
    }
  }

  private messageItem(message: Message): HTMLElement {
    if (message.messageType !== 'MESSAGE') return h('li', { class: 'event', title: message.senderId }, line(message));
    const own = message.senderId === this.inbox.person.id;
    return h(
      'li',
      { class: own ? 'message own' : 'message', data: { id: message.id } },
      h('span', { class: 'sender', title: message.senderId }, own ? 'You' : called(message.senderId)),
      h('p', { dir: 'auto' }, message.content),
      h('time', { datetime: message.createdAt }, clockTime(message.createdAt)),
    );
  }

  private arrange(item: HTMLElement, message: Message, previous: Message | null): void {
    const newDay = previous === null || dayOf(previous.createdAt) !== dayOf(message.createdAt);
    if (newDay) item.dataset['day'] = dayOf(message.createdAt);
    else delete item.dataset['day'];
    const near = previous !== null && Date.parse(message.createdAt) - Date.parse(previous.createdAt) < together;
    item.classList.toggle('next', !newDay && near && previous?.senderId === message.senderId && previous.messageType === message.messageType);
  }

  private pendingItem(item: Pending, previous: Message | null): HTMLElement {
    // Read aloud is what was stored; what is on its way is only seen.
    const under = item.id === null && item.failure === null;
    const element = h('li', { class: item.id === null ? 'message own pending' : 'message own', 'aria-hidden': under ? 'true' : undefined }, h('span', { class: 'sender' }, 'You'), h('p', { dir: 'auto' }, item.content));
    element.classList.toggle('next', previous?.senderId === this.inbox.person.id);
    if (item.id !== null) element.append(h('time', { datetime: item.createdAt }, clockTime(item.createdAt)));
    else if (item.failure === null) element.append(h('span', { class: 'fate' }, 'sending'));
    else {
      element.classList.add('failed');
      element.append(
        h('span', { class: 'fate', role: 'alert' }, `Not sent: ${item.failure}`),
        h('button', { type: 'button', class: 'quiet', on: { click: () => this.inbox.outbox.retry(item) } }, 'Send again', unseen(`: ${item.content}`)),
        h('button', { type: 'button', class: 'quiet', on: { click: () => this.inbox.outbox.drop(item) } }, 'Discard', unseen(`: ${item.content}`)),
      );
    }
    return element;
  }

  private async loadOlder(): Promise<void> {
    if (this.room === null) return;
    const { log } = this;
    const fromEnd = log.scrollHeight - log.scrollTop;
    this.older.disabled = true;
    try {
      await this.inbox.older(this.room);
      log.scrollTop = log.scrollHeight - fromEnd; // what was in view stays in view
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      announce(error.message);
    } finally {
      this.older.disabled = false;
    }
  }

  private send(): void {
    const content = this.composer.value.trim();
    if (content === '' || this.room === null) return;
    this.inbox.outbox.send(this.room, content);
    this.write('');
    this.toEnd();
  }

  private key(event: KeyboardEvent): void {
    // Enter while an input method composes a syllable belongs to the input method.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.send();
  }

  private write(text: string): void {
    this.composer.value = text;
    this.grow();
  }

  private grow(): void {
    this.composer.style.height = 'auto';
    this.composer.style.height = `${Math.min(this.composer.scrollHeight + 2, 140)}px`;
  }

  private atEnd(): boolean {
    const { log } = this;
    return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  }

  private toEnd(): void {
    this.log.scrollTop = this.log.scrollHeight;
    this.fresh.hidden = true;
  }
}
