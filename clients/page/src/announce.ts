import { say } from './dom';

let last = '';

/** Says something to screen readers once, politely. */
export function announce(text: string): void {
  const region = document.getElementById('announcer');
  if (region === null) return;
  // The same sentence twice is a change only if the text differs.
  last = text === last ? `${text}\u00a0` : text;
  say(region, last);
}
