/** Something that others can be told of. */
export interface Signal<T> {
  on(listener: (value: T) => void): () => void;
  say(value: T): void;
}

export function signal<T = void>(): Signal<T> {
  const listeners = new Set<(value: T) => void>();
  return {
    on(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    say(value) {
      for (const listener of [...listeners]) listener(value);
    },
  };
}
