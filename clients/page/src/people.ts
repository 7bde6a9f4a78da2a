import { browser, tab } from './kept';
import { signal } from './signal';

/** One of the two who try the gateway on this page. */
export interface Person {
  readonly slot: 0 | 1;
  /** The user id: what the gateway knows them by. */
  id: string;
  /** A credential, where the gateway asks for one. It stays in this tab. */
  token: string | null;
}

const names = ['alice', 'bob'] as const;
const nameKey = (slot: number) => `tidegate.user.${slot}`;
const tokenKey = (slot: number) => `tidegate.token.${slot}`;

export const people: readonly [Person, Person] = [load(0), load(1)];
/** Said after a name or a token changed. */
export const changed = signal<Person>();

function load(slot: 0 | 1): Person {
  const token = tab.get(tokenKey(slot));
  return { slot, token, id: (token && subject(token)) ?? browser.get(nameKey(slot)) ?? names[slot] };
}

export const other = (person: Person): Person => people[person.slot === 0 ? 1 : 0];

/** What a stream is told of who opens it. */
export const credential = (person: Person): { token?: string } => (person.token === null ? {} : { token: person.token });

/** A typed name as a user id. What an id may be, the gateway says; half a character is none anywhere. */
export const userId = (typed: string): string => typed.trim().toWellFormed();

/** Is somebody else from now on, here and in the browser's other windows. */
export function rename(person: Person, id: string): void {
  browser.set(nameKey(person.slot), id);
  become(person, id);
}

function become(person: Person, id: string): void {
  if (id === person.id) return;
  person.id = id;
  changed.say(person);
}

// Windows that disagree about who is who would need streams for all of them.
window.addEventListener('storage', ({ key, newValue }) => {
  const person = people.find(({ slot, token }) => token === null && key === nameKey(slot));
  if (person !== undefined && newValue !== null) become(person, newValue);
});

/** Takes a token. Whose it is, the token itself says. */
export function authorize(person: Person, token: string): void {
  person.token = token;
  person.id = subject(token) ?? person.id;
  tab.set(tokenKey(person.slot), token);
  changed.say(person);
}

/** How a user id is shown. */
export function nameOf(id: string): string {
  return id.charAt(0).toUpperCase() + id.slice(1);
}

/** The `sub` of a JWT. Only the gateway checks it; here it is a label. */
function subject(token: string): string | null {
  try {
    const claims: unknown = JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')));
    return typeof claims === 'object' && claims !== null && 'sub' in claims && typeof claims.sub === 'string' ? claims.sub : null;
  } catch {
    return null;
  }
}
