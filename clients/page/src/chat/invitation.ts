import { Refusal, ask } from '../api';
import { fill, h, say } from '../dom';
import { other, userId } from '../people';
import type { Inbox } from './inbox';
import type { Room } from './model';

/** Asks with whom to chat: a room of two, or one with a name. */
export function invitation(inbox: Inbox, done: (room: Room) => void): void {
  const { person } = inbox;
  const prefix = `invite-${person.slot}`;
  const known = h('datalist', { id: `${prefix}-known` });
  const people = h('input', { id: `${prefix}-people`, required: true, autocomplete: 'off', value: other(person).id, list: known.id, 'aria-describedby': `${prefix}-hint` });
  const name = h('input', { id: `${prefix}-name`, autocomplete: 'off', maxlength: '100' });
  const start = h('button', { class: 'primary', type: 'submit' }, 'Start');
  const problem = h('p', { class: 'problem', role: 'alert' });
  const invite = async (): Promise<void> => {
    const invited = [...new Set(people.value.split(',').map(userId).filter((id) => id !== '' && id !== person.id))];
    if (invited.length === 0) return say(problem, 'Name somebody else.');
    start.disabled = true;
    try {
      const room = await inbox.invite(invited, name.value.trim());
      dialog.close();
      done(room);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      say(problem, error.message);
    } finally {
      start.disabled = false;
    }
  };
  const dialog = h(
    'dialog',
    { data: { slot: String(person.slot) }, 'aria-labelledby': `${prefix}-title`, on: { close: () => dialog.remove() } },
    h('h3', { id: `${prefix}-title` }, 'New chat'),
    h(
      'form',
      { on: { submit: (event) => (event.preventDefault(), void invite()) } },
      h('label', { for: people.id }, 'With'),
      people,
      known,
      h('p', { class: 'hint', id: `${prefix}-hint` }, 'One user name, or several with commas between.'),
      h('label', { for: name.id }, 'Name of the room'),
      name,
      h('p', { class: 'hint' }, 'Empty: with one person it is the room of you two, always the same.'),
      problem,
      h('div', { class: 'row end' }, h('button', { type: 'button', on: { click: () => dialog.close() } }, 'Cancel'), start),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  people.select();
  void suggest(inbox, known);
}

async function suggest(inbox: Inbox, known: HTMLElement): Promise<void> {
  try {
    const users = await ask<{ id: string; nickname: string }[]>(inbox.person, 'api/chat/users');
    fill(known, ...users.filter(({ id }) => id !== inbox.person.id).map(({ id, nickname }) => h('option', { value: id }, nickname === id ? '' : nickname)));
  } catch {
    // Suggestions are a help; without them names are typed.
  }
}
