import { fill, h, icon, initial, say, unseen } from '../dom';
import { called, named } from '../names';
import { type Person, authorize, nameOf } from '../people';
import { badge } from '../badge';
import { Conversation } from './conversation';
import type { Inbox } from './inbox';
import { invitation } from './invitation';
import { type Room, line, title } from './model';
import { renaming } from './renaming';
import { shortTime } from '../time';

/** The chat as one person sees it: a device of their own on this page. */
export class Pane {
  readonly element: HTMLElement;
  private readonly nav = h('span', { class: 'dot', hidden: true });
  private readonly navText = unseen('');
  private readonly list = h('ul', { class: 'rooms' });
  private readonly status = badge();
  private readonly conversation: Conversation;
  private readonly barrier = h('div', { class: 'barrier' });
  private readonly body: HTMLElement;
  private readonly face = h('span', {});
  private readonly name = h('span', { class: 'name' });
  /** What became of rooms that are gone. */
  private readonly lost = h('div', { class: 'lost', role: 'status' });

  constructor(
    private readonly inbox: Inbox,
    private readonly person: Person,
  ) {
    this.conversation = new Conversation(inbox, () => this.show('rooms'));
    const create = h('button', { class: 'quiet', type: 'button', on: { click: () => invitation(inbox, (room) => void this.enter(room)) } }, icon('plus'), 'New chat');
    this.body = h(
      'div',
      { class: 'device-body', data: { showing: 'conversation' } },
      h('div', { class: 'rooms-side' }, h('h4', {}, 'Rooms'), this.lost, this.list, create),
      this.conversation.element,
      this.barrier,
    );
    const heading = h('h3', {}, h('span', { class: 'face', 'aria-hidden': 'true' }, this.face, this.nav), this.name, this.navText);
    const what = person.token === null ? 'name' : 'nickname';
    const edit = h('button', { class: 'icon-button small', type: 'button', 'aria-label': `Change the ${what} of ${nameOf(person.id)}`, on: { click: () => renaming(person, heading, edit) } }, icon('pencil'));
    this.element = h(
      'article',
      { class: 'device', data: { slot: String(person.slot) }, 'aria-label': `Chat as ${nameOf(person.id)}` },
      h('header', { class: 'device-head' }, heading, edit, this.status.element),
      this.body,
    );
    inbox.roomsChanged.on(() => this.drawRooms());
    inbox.statusChanged.on(() => this.drawStatus());
    inbox.roomGone.on(({ room, successor, wanted }) => this.part(room, successor, wanted));
    named.on(() => {
      this.drawName();
      this.drawRooms();
    });
    this.drawName();
    this.drawRooms();
    this.drawStatus();
  }

  /** Whether this is the device in hand: only there a message that arrives is read at once and read aloud. */
  set active(active: boolean) {
    this.element.classList.toggle('active', active);
    this.conversation.loud = active;
  }

  /** Whether messages can be seen: not where the list of rooms has the whole device. */
  get visible(): boolean {
    return this.conversation.element.offsetParent !== null;
  }

  private show(what: 'rooms' | 'conversation'): void {
    this.body.dataset['showing'] = what;
    if (what === 'rooms') {
      this.inbox.leave();
      this.list.querySelector('button')?.focus();
    } else this.conversation.focus();
  }

  private drawName(): void {
    const name = called(this.person.id);
    say(this.face, initial(name));
    say(this.name, name);
    this.name.title = this.person.id;
  }

  /** A room is gone. What was begun in it goes on in its successor, or is shown once more. */
  private part(room: Room, successor: string | null, wanted: boolean): void {
    const { inbox, conversation } = this;
    const open = conversation.shows(room.id);
    const draft = conversation.takeDraft(room.id);
    if (successor !== null) return draft === '' ? undefined : conversation.putDraft(successor, draft);
    const words = [...inbox.pending(room.id).filter(({ id }) => id === null).map(({ content }) => content), draft].filter((text) => text !== '');
    if (words.length > 0 || (open && !wanted)) this.lost.append(this.obituary(room, words));
    // On a phone the conversation has the whole device, and there is none.
    if (inbox.openRoom === null && this.body.dataset['showing'] === 'conversation') this.body.dataset['showing'] = 'rooms';
  }

  private obituary(room: Room, words: string[]): HTMLElement {
    const note = h(
      'div',
      { class: 'notice' },
      h('p', {}, h('b', { dir: 'auto' }, title(room, this.person.id)), words.length === 0 ? ' is gone.' : ' is gone. Not sent:'),
      ...words.map((text) => h('p', { class: 'unsent', dir: 'auto' }, text)),
      h('button', { type: 'button', class: 'quiet', on: { click: () => note.remove() } }, 'Dismiss'),
    );
    return note;
  }

  private drawStatus(): void {
    const { inbox } = this;
    this.status.show(inbox.barrier === 'none' ? inbox.state : inbox.barrier === 'token' ? 'refused' : 'off', inbox.node);
    this.body.classList.toggle('barred', inbox.barrier !== 'none');
    if (inbox.barrier === 'off') fill(this.barrier, h('p', {}, 'The chat is not switched on at this gateway. Its setting is ', h('code', {}, 'apps.chat'), '.'));
    if (inbox.barrier === 'name') fill(this.barrier, h('p', { class: 'problem' }, inbox.why), h('p', {}, 'Choose another name with the pencil.'));
    if (inbox.barrier === 'token') fill(this.barrier, this.tokenForm());
  }

  private drawRooms(): void {
    const { inbox, nav } = this;
    nav.hidden = !inbox.dot;
    say(this.navText, inbox.dot ? ' (new messages)' : '');
    const focused = (document.activeElement as HTMLElement | null)?.dataset['room'];
    fill(this.list, ...inbox.rooms.sorted().map((room) => h('li', {}, this.roomButton(room))));
    if (focused !== undefined) this.list.querySelector<HTMLElement>(`[data-room="${CSS.escape(focused)}"]`)?.focus();
  }

  private roomButton(room: Room): HTMLElement {
    const { inbox } = this;
    const last = room.lastMessage;
    const mine = last?.senderId === this.person.id ? 'You: ' : '';
    return h(
      'button',
      {
        type: 'button',
        class: 'room',
        data: { room: room.id },
        'aria-current': room.id === inbox.openRoom ? 'true' : undefined,
        on: { click: () => void this.enter(room) },
      },
      h('span', { class: 'room-name', dir: 'auto', title: room.participants.join(', ') }, title(room, this.person.id)),
      h('time', {}, last === null ? '' : shortTime(last.createdAt)),
      h('span', { class: 'room-last' }, last === null ? 'Nothing said yet' : last.messageType === 'MESSAGE' ? mine + last.content : line(last)),
      room.unreadCount > 0 && h('span', { class: 'count' }, String(room.unreadCount), unseen(' unread')),
    );
  }

  private async enter(room: Room): Promise<void> {
    this.show('conversation');
    await this.inbox.enter(room.id);
    this.conversation.focus();
  }

  private tokenForm(): HTMLElement {
    const { person } = this;
    const id = `token-${person.slot}`;
    const input = h('input', { id, type: 'password', autocomplete: 'off', required: true });
    const wrong = person.token === null ? null : h('p', { class: 'problem', role: 'alert' }, 'The gateway does not accept this token here.');
    return h(
      'form',
      { on: { submit: (event) => (event.preventDefault(), authorize(person, input.value.trim())) } },
      h('p', {}, 'This gateway asks who you are.'),
      h('label', { for: id }, 'Token'),
      input,
      h('p', { class: 'hint' }, h('code', {}, `tidegate token --user ${person.id}`), ' makes one. It is kept in this tab only.'),
      wrong,
      h('button', { class: 'primary', type: 'submit' }, `Open ${nameOf(person.id)}’s chat`),
    );
  }
}

