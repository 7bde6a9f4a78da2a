import { h, say } from './dom';

const words: Record<string, string> = { connecting: 'Connecting', open: 'Open', offline: 'Offline', closed: 'Closed', off: 'Not switched on', refused: 'Token needed', idle: 'Not watching', elsewhere: 'Live in another window' };

/** The state of a connection, in words and a colour, and which node it is with. */
export function badge(): { element: HTMLElement; show(state: string, node?: string): void } {
  const text = h('span');
  const where = h('span', { class: 'node' });
  const element = h('span', { class: 'badge' }, text, where);
  return {
    element,
    show(state, node = '') {
      element.dataset['state'] = state;
      say(text, words[state] ?? state);
      say(where, state === 'open' ? node : '');
    },
  };
}
