import { Refusal, ask } from '../api';
import { h, say } from '../dom';
import { call, called } from '../names';
import { type Person, nameOf, other, rename, userId } from '../people';

/** Where a name is, a form to change it: who one is, or with a token, which alone says that, only what one is called. */
export function renaming(person: Person, heading: HTMLElement, button: HTMLElement): void {
  const own = person.token === null;
  const before = own ? person.id : called(person.id);
  const input = h('input', { value: before, 'aria-label': own ? 'User name' : 'Nickname', autocomplete: 'off', spellcheck: 'false' });
  const problem = h('p', { class: 'problem', role: 'alert' });
  let over = false;
  let asking = false;

  const close = (): void => {
    if (over) return;
    over = true; // taking the form away is a blur of its own
    form.replaceWith(heading);
    button.hidden = false;
  };
  const submit = async (): Promise<void> => {
    const typed = userId(input.value);
    if (over || asking) return;
    if (typed === before || typed === '') return close();
    asking = true;
    try {
      if (own) await become(person, typed);
      else await nick(person, typed);
      close();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      say(problem, error.message);
    } finally {
      asking = false;
    }
  };
  const form = h('form', { class: 'rename', on: { submit: (event) => (event.preventDefault(), void submit()) } }, input, problem);
  input.addEventListener('input', () => say(problem, ''));
  input.addEventListener('blur', () => (problem.textContent === '' ? void submit() : close()));
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    close();
    button.focus();
  });
  heading.replaceWith(form);
  button.hidden = true;
  input.select();
}

async function become(person: Person, id: string): Promise<void> {
  if (id === other(person).id) throw new Refusal(0, `${nameOf(id)} is the other one on this page.`);
  await ask({ ...person, id }, 'api/chat/rooms'); // the gateway says what is wrong with it
  rename(person, id);
}

async function nick(person: Person, nickname: string): Promise<void> {
  await ask(person, `api/chat/users/${encodeURIComponent(person.id)}`, { method: 'PUT', body: { nickname } });
  call(person.id, nickname);
}
