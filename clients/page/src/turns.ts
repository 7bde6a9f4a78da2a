import { canShare } from '../../js/src/shared';

/**
 * What only one window at a time may hold: a browser has six connections to a host over HTTP/1.1, for all its windows together.
 *
 * Whoever takes the turn tells the others; those who hold something else under the same name give it back. `same` are things that
 * windows hold together.
 */
export function turns(name: string, same: () => string, lost: () => void): () => void {
  const channel = new BroadcastChannel(`tidegate.turns.${name}`);
  channel.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (data !== same()) lost();
  };
  return () => channel.postMessage(same());
}

/** This window, as nobody else is called. */
export const self = crypto.getRandomValues(new Uint32Array(2)).join();

/** Whether windows can share streams: not where there are no locks, as over plain HTTP from another machine. There the window in use has them. */
export const sharing = canShare();

/** Calls back at every sign that somebody uses this window. */
export function inUse(then: () => void): void {
  for (const sign of ['focus', 'pointerdown', 'keydown'] as const) window.addEventListener(sign, then);
}
