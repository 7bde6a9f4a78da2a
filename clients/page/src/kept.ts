/** What the browser keeps for us, if it does: where cookies are off, even asking throws. */
export interface Kept {
  get(key: string): string | null;
  set(key: string, value: string): void;
}

const kept = (storage: () => Storage): Kept => ({
  get(key) {
    try {
      return storage().getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      storage().setItem(key, value);
    } catch {
      // It is forgotten with the page.
    }
  },
});

/** In this browser. */
export const browser = kept(() => localStorage);
/** In this tab. */
export const tab = kept(() => sessionStorage);
