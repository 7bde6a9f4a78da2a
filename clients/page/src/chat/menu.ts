import { Refusal } from '../api';
import { h, icon, say } from '../dom';
import { userId } from '../people';
import { destroy, leave } from './gateway';
import type { Inbox } from './inbox';
import { type Room, title } from './model';

/** What can be done with the room that is open; nothing that the gateway would refuse. */
export function roomMenu(inbox: Inbox, room: Room): HTMLElement {
  const me = inbox.person.id;
  const name = title(room, me);
  const items: HTMLElement[] = [];
  const item = (text: string, act: () => void): void => void items.push(h('button', { type: 'button', class: 'quiet', on: { click: () => ((details.open = false), act()) } }, text));
  if (!room.direct) {
    item('Add people', () => addition(inbox, room));
    item('Leave the room', () => sure(`Leave ${name}?`, 'What is said from now on does not reach you.', 'Leave', () => inbox.end(room.id, leave)));
  }
  if (room.direct || room.createdBy === me) {
    item('Delete the room', () => sure(`Delete ${name}?`, 'Its messages are gone, for everybody in it.', 'Delete', () => inbox.end(room.id, destroy)));
  }
  const details = h('details', { class: 'menu' }, h('summary', { class: 'icon-button small', 'aria-label': 'This room' }, icon('more')), h('div', { class: 'menu-items' }, ...items));
  const outside = ({ target }: Event): void => {
    if (!(target instanceof Node && details.contains(target))) details.open = false;
  };
  details.addEventListener('toggle', () => {
    for (const sign of ['pointerdown', 'focusin']) {
      if (details.open) document.addEventListener(sign, outside);
      else document.removeEventListener(sign, outside);
    }
  });
  details.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !details.open) return;
    details.open = false;
    details.querySelector('summary')?.focus();
  });
  return details;
}

function sure(question: string, consequence: string, word: string, act: () => Promise<void>): void {
  ask(question, [h('p', {}, consequence)], word, act);
}

function addition(inbox: Inbox, room: Room): void {
  const people = h('input', { id: `add-${inbox.person.slot}`, required: true, autocomplete: 'off', spellcheck: 'false' });
  ask(`Add people to ${title(room, inbox.person.id)}`, [h('label', { for: people.id }, 'User names'), people, h('p', { class: 'hint' }, 'One, or several with commas between.')], 'Add', async () => {
    for (const id of people.value.split(',').map(userId)) if (id !== '') await inbox.add(room.id, id);
  });
}

/** A question in a dialog, which closes when what was asked for is done. */
function ask(question: string, content: HTMLElement[], word: string, act: () => Promise<void>): void {
  const problem = h('p', { class: 'problem', role: 'alert' });
  const go = h('button', { type: 'submit', class: 'primary' }, word);
  const submit = async (): Promise<void> => {
    go.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      say(problem, error.message);
    } finally {
      go.disabled = false;
    }
  };
  const dialog = h(
    'dialog',
    { 'aria-label': question, on: { close: () => dialog.remove() } },
    h('h3', {}, question),
    h(
      'form',
      { on: { submit: (event) => (event.preventDefault(), void submit()) } },
      ...content,
      problem,
      h('div', { class: 'row end' }, h('button', { type: 'button', on: { click: () => dialog.close() } }, 'Cancel'), go),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}
