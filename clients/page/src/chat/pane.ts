import { announce } from '../announce';
import { Refusal } from '../api';
import { fill, h, icon, say, unseen } from '../dom';
import { type Person, authorize, nameOf, rename } from '../people';
import { badge } from '../badge';
import { Conversation } from './conversation';
import type { Inbox } from './inbox';
import { invitation } from './invitation';
import { type Room, title } from './model';
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

  constructor(
    private readonly inbox: Inbox,
    private readonly person: Person,
  ) {
    this.conversation = new Conversation(inbox, () => this.show('rooms'));
    const create = h('button', { class: 'quiet', type: 'button', on: { click: () => invitation(inbox, (room) => void this.enter(room)) } }, icon('plus'), 'New chat');
    this.body = h(
      'div',
      { class: 'device-body', data: { showing: 'conversation' } },
      h('div', { class: 'rooms-side' }, h('h4', {}, 'Rooms'), this.list, create),
      this.conversation.element,
      this.barrier,
    );
    const heading = h('h3', {}, h('span', { class: 'face', 'aria-hidden': 'true' }, nameOf(person.id).charAt(0), this.nav), h('span', { class: 'name' }, nameOf(person.id)), this.navText);
    const edit = h('button', { class: 'icon-button small', type: 'button', 'aria-label': `Change the name of ${nameOf(person.id)}`, on: { click: () => this.edit(heading, edit) } }, icon('pencil'));
    this.element = h(
      'article',
      { class: 'device', data: { slot: String(person.slot) }, 'aria-label': `Chat as ${nameOf(person.id)}` },
      h('header', { class: 'device-head' }, heading, edit, this.status.element),
      this.body,
    );
    inbox.roomsChanged.on(() => this.drawRooms());
    inbox.statusChanged.on(() => this.drawStatus());
    this.drawRooms();
    this.drawStatus();
  }

  /** Whether this is the device in hand: only there a message that arrives is read at once and read aloud. */
  set active(active: boolean) {
    this.element.classList.toggle('active', active);
    this.conversation.loud = active;
  }

  private show(what: 'rooms' | 'conversation'): void {
    this.body.dataset['showing'] = what;
    if (what === 'rooms') {
      this.inbox.leave();
      this.list.querySelector('button')?.focus();
    } else this.conversation.focus();
  }

  private drawStatus(): void {
    const { inbox } = this;
    this.status.show(inbox.barrier === 'none' ? inbox.state : inbox.barrier === 'off' ? 'off' : 'refused', inbox.node);
    this.body.classList.toggle('barred', inbox.barrier !== 'none');
    if (inbox.barrier === 'off') fill(this.barrier, h('p', {}, 'The chat is not switched on at this gateway. Its setting is ', h('code', {}, 'apps.chat'), '.'));
    if (inbox.barrier === 'token') fill(this.barrier, this.tokenForm());
  }

  private drawRooms(): void {
    const { inbox, nav } = this;
    nav.hidden = !inbox.dot;
    say(this.navText, inbox.dot ? ' (new messages)' : '');
    const focused = (document.activeElement as HTMLElement | null)?.dataset['room'];
    fill(this.list, ...inbox.sorted().map((room) => h('li', {}, this.roomButton(room))));
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
      h('span', { class: 'room-name', dir: 'auto' }, title(room, this.person.id)),
      h('time', {}, last === null ? '' : shortTime(last.createdAt)),
      h('span', { class: 'room-last' }, last === null ? 'Nothing said yet' : last.messageType === 'MESSAGE' ? mine + last.content : last.messageType === 'JOIN' ? `${nameOf(last.senderId)} came` : `${nameOf(last.senderId)} went`),
      room.unreadCount > 0 && h('span', { class: 'count' }, String(room.unreadCount), unseen(' unread')),
    );
  }

  private async enter(room: Room): Promise<void> {
    try {
      await this.inbox.enter(room.id);
      this.show('conversation');
    } catch (error) {
      if (error instanceof Refusal) announce(error.message);
      else throw error;
    }
  }

  private edit(heading: HTMLElement, button: HTMLElement): void {
    const input = h('input', { value: this.person.id, maxlength: '40', 'aria-label': 'User name', autocomplete: 'off', spellcheck: 'false' });
    const done = (): void => {
      form.replaceWith(heading);
      button.hidden = false;
      if (input.value !== this.person.id) rename(this.person, input.value);
    };
    const form = h('form', { class: 'rename', on: { submit: (event) => (event.preventDefault(), done()) } }, input);
    input.addEventListener('blur', done, { once: true });
    input.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      input.value = this.person.id;
      input.blur();
    });
    heading.replaceWith(form);
    button.hidden = true;
    input.select();
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

