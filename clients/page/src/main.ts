import './style/index.css';
import { chat, dots } from './chat';
import { inspector } from './inspector';
import { seats } from './seats';
import { theme } from './theme';

const part = (id: string): HTMLElement => {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`#${id} is missing`);
  return element;
};

theme(part('theme'));

/** On a phone one part is shown at a time: the one of the address. */
const views = [...document.querySelectorAll<HTMLAnchorElement>('.sections a')];
const show = (): void => {
  const wanted = views.find((view) => view.hash === location.hash) ?? views[0];
  document.body.dataset['view'] = wanted?.dataset['view'] ?? 'chat';
  for (const view of views) {
    if (view === wanted) view.setAttribute('aria-current', 'true');
    else view.removeAttribute('aria-current');
  }
};
window.addEventListener('hashchange', () => {
  show();
  if (matchMedia('(max-width: 45rem)').matches) scrollTo({ top: 0, behavior: 'instant' });
});
show();

const dot = document.querySelector<HTMLElement>('.sections .dot');
dots.on((on) => {
  if (dot !== null) dot.hidden = !on;
  document.title = on ? '● Tidegate' : 'Tidegate';
});

chat(part('chat'));
seats(part('seats'));
inspector(part('inspector'));
