import { fill, icon } from './dom';
import { browser } from './kept';

const key = 'tidegate.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

/** Light or dark: as the system says until somebody chooses. The choice stays in this browser. */
export function theme(button: HTMLElement): void {
  let chosen = browser.get(key);
  const draw = (): void => {
    const isDark = chosen === null ? dark.matches : chosen === 'dark';
    if (chosen !== null) document.documentElement.dataset['theme'] = chosen;
    button.setAttribute('aria-pressed', String(isDark));
    fill(button, icon(isDark ? 'sun' : 'moon'));
  };
  button.addEventListener('click', () => {
    chosen = button.getAttribute('aria-pressed') === 'true' ? 'light' : 'dark';
    browser.set(key, chosen);
    draw();
  });
  dark.addEventListener('change', draw);
  draw();
}
