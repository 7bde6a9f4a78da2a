/** Small helpers to build elements. Whatever a child says becomes a text node: nothing that came over the wire is ever parsed as HTML. */

type Child = Node | string | number | null | undefined | false;
type Handlers = { [K in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[K]) => void };
interface Props {
  class?: string;
  on?: Handlers;
  data?: Record<string, string>;
  [attribute: string]: unknown;
}

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') for (const [type, handler] of Object.entries(value as Handlers)) element.addEventListener(type, handler as EventListener);
    else if (name === 'data') Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  fill(element, ...children);
  return element;
}

/** Replaces what an element holds. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : String(child))));
}

/** Sets a text only when it differs, so that live regions and selections are left alone. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The first letter, of whatever script. */
export const initial = (name: string): string => ([...name][0] ?? '').toUpperCase();

/** Text for screen readers alone. */
export const unseen = (text: string): HTMLElement => h('span', { class: 'unseen' }, text);

const icons = {
  send: 'M4 12h14M12.5 6l6 6-6 6',
  plus: 'M12 5v14M5 12h14',
  back: 'M19 12H5M11 6l-6 6 6 6',
  pencil: 'M4 20l1-4.5L16 4.5l3.5 3.5L8.5 19z',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  sun: 'M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
  moon: 'M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z',
  chat: 'M4 5.5h16v11H10l-4.5 3.5v-3.5H4z',
  cut: 'M6 5l9 10M18 5L9 15M6.5 20a2.5 2.5 0 1 0 0-5a2.5 2.5 0 1 0 0 5M17.5 20a2.5 2.5 0 1 0 0-5a2.5 2.5 0 1 0 0 5',
} as const;

export function icon(name: keyof typeof icons): SVGSVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.classList.add('icon');
  const path = document.createElementNS(svg.namespaceURI, 'path');
  path.setAttribute('d', icons[name]);
  svg.append(path);
  return svg as SVGSVGElement;
}
