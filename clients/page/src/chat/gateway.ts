import { ask } from '../api';
import type { Person } from '../people';
import type { Page, Room } from './model';

// What the chat asks the gateway for.
const pageSize = 30;
const at = (roomId: string): string => `api/chat/rooms/${encodeURIComponent(roomId)}`;

export const rooms = (person: Person): Promise<Room[]> => ask(person, 'api/chat/rooms');

export const room = (person: Person, roomId: string): Promise<Room> => ask(person, at(roomId));

/** The latest messages, or those before one. */
export const messages = (person: Person, roomId: string, before?: string): Promise<Page> =>
  ask(person, `${at(roomId)}/messages`, { query: { before, limit: pageSize } });

export const markRead = (person: Person, roomId: string): Promise<unknown> => ask(person, `${at(roomId)}/read`, { method: 'POST' });

/** The room of two, or one with a name and any number of people. The same two always meet in the same room. */
export function invite(person: Person, people: string[], name: string): Promise<Room> {
  const [only] = people;
  if (name === '' && people.length === 1 && only !== undefined) return ask(person, `api/chat/users/${encodeURIComponent(only)}/rooms`, { method: 'POST' });
  return ask(person, 'api/chat/rooms', { method: 'POST', body: { name: name === '' ? people.join(', ') : name, participants: people } });
}

export const add = (person: Person, roomId: string, user: string): Promise<Room> =>
  ask(person, `${at(roomId)}/participants/${encodeURIComponent(user)}`, { method: 'POST' });

export const leave = (person: Person, roomId: string): Promise<unknown> =>
  ask(person, `${at(roomId)}/participants/${encodeURIComponent(person.id)}`, { method: 'DELETE' });

export const destroy = (person: Person, roomId: string): Promise<unknown> => ask(person, at(roomId), { method: 'DELETE' });
