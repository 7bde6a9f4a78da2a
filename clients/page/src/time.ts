const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const exact = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const long = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });

const sameDay = (a: Date, b: Date): boolean => a.toDateString() === b.toDateString();

/** 12:03 today, 3 May before. */
export function shortTime(iso: string): string {
  const at = new Date(iso);
  return (sameDay(at, new Date()) ? clock : day).format(at);
}

export const clockTime = (iso: string): string => clock.format(new Date(iso));
export const exactTime = (at: string | number | Date): string => exact.format(new Date(at));

export function dayOf(iso: string): string {
  const at = new Date(iso);
  return sameDay(at, new Date()) ? 'Today' : long.format(at);
}

/** 0:42 */
export function countdown(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
