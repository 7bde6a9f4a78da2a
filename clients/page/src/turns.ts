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
