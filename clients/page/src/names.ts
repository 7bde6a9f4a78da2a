import { ask } from './api';
import { type Person, nameOf } from './people';
import { signal } from './signal';

/** What people call themselves, where that is not their id. */
const nicknames = new Map<string, string>();
const known = new Set<string>();
let asking = false;

/** Said when somebody is called something else. */
export const named = signal();

/** How a user is shown. The id belongs beside it, as a title: a nickname is anybody's choice. */
export const called = (id: string): string => nicknames.get(id) ?? nameOf(id);

export function call(id: string, nickname: string): void {
  if (note(id, nickname)) named.say();
}

/** Asks who is called what. */
export async function learn(person: Person): Promise<void> {
  if (asking) return;
  asking = true;
  try {
    const users = await ask<{ id: string; nickname: string }[]>(person, 'api/chat/users');
    const changes = users.filter(({ id, nickname }) => note(id, nickname));
    if (changes.length > 0) named.say();
  } catch {
    // Then they go by their ids.
  } finally {
    asking = false;
  }
}

/** Asks if one of them was never heard of. */
export function meet(person: Person, ids: readonly string[]): void {
  const strangers = ids.filter((id) => !known.has(id));
  for (const id of strangers) known.add(id);
  if (strangers.length > 0) void learn(person);
}

function note(id: string, nickname: string): boolean {
  known.add(id);
  const before = called(id);
  if (nickname === '' || nickname === id) nicknames.delete(id);
  else nicknames.set(id, nickname);
  return called(id) !== before;
}
