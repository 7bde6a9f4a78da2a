/**
 * Says when a part comes into sight and when it goes: by the tab that is put behind, or by another part on a phone.
 *
 * Over HTTP/1.1 a browser has six connections to a host, for all its tabs. What nobody looks at gives its own back, and resumes later.
 */
export function whileSeen(section: HTMLElement, came: () => void, went: () => void): void {
  let was = false;
  const look = (): void => {
    const is = section.offsetParent !== null && document.visibilityState === 'visible';
    if (is === was) return;
    was = is;
    if (is) came();
    else went();
  };
  document.addEventListener('visibilitychange', look);
  new ResizeObserver(look).observe(section);
  look();
}
