import { h, say } from '../dom';
import { called, named } from '../names';
import { changed, other, people } from '../people';
import { pulse } from '../tide';
import { signal } from '../signal';
import { inUse, self, sharing, turns } from '../turns';
import { Inbox } from './inbox';
import { Pane } from './pane';

/** Said whenever one of the red dots may have changed. */
export const dots = signal<boolean>();

interface Device {
  inbox: Inbox;
  pane: Pane;
}

/** Two people's chats, side by side. The one in use is active: there messages are read as they come, at the other the dot goes on. */
export function chat(section: HTMLElement): void {
  const frame = h('div', { class: 'devices' });
  const chooser = h('div', { class: 'segments people-switch', role: 'group', 'aria-label': 'Whose device' });
  section.append(chooser, frame);
  let active = 0;
  const devices: (Device | null)[] = [null, null];
  const tabs = people.map((person) =>
    h('button', { type: 'button', on: { click: () => choose(person.slot) } }, h('span', { class: 'tab-name' }), h('span', { class: 'dot', hidden: true })),
  );
  chooser.append(...tabs);

  const choose = (slot: number): void => {
    active = slot;
    frame.dataset['active'] = String(slot);
    devices.forEach((device, at) => {
      if (device === null) return;
      device.pane.active = at === slot;
      tabs[at]?.setAttribute('aria-pressed', String(at === slot));
    });
    devices[slot]?.inbox.read();
  };

  const drawNames = (): void =>
    tabs.forEach((tab, at) => {
      const name = tab.querySelector('.tab-name');
      const person = people[at];
      if (name !== null && person !== undefined) say(name, called(person.id));
    });

  const open = (slot: 0 | 1): void => {
    const person = people[slot];
    devices[slot]?.inbox.close();
    const inbox = new Inbox(person);
    const pane = new Pane(inbox, person);
    inbox.attentive = () => active === slot && document.visibilityState === 'visible' && pane.visible;
    inbox.flowed.on(pulse);
    inbox.roomsChanged.on(() => {
      const dot = tabs[slot]?.querySelector<HTMLElement>('.dot');
      if (dot) dot.hidden = !inbox.dot;
      dots.say(devices.some((device) => device?.inbox.dot));
    });
    const take = (): void => {
      if (active !== slot) choose(slot);
      else inbox.read();
    };
    pane.element.addEventListener('focusin', take);
    pane.element.addEventListener('pointerdown', take);
    const old = devices[slot]?.pane.element;
    if (old === undefined) frame.append(pane.element);
    else old.replaceWith(pane.element);
    devices[slot] = { inbox, pane };
    drawNames();
    choose(active);
    void inbox.start();
  };

  named.on(drawNames);
  for (const person of people) open(person.slot);
  changed.on((person) => {
    open(person.slot);
    void devices[other(person).slot]?.inbox.meet();
  });
  if (!sharing) {
    const inboxes = (): Inbox[] => devices.flatMap((device) => device?.inbox ?? []);
    const take = turns('chat', () => self, () => inboxes().forEach((inbox) => inbox.rest()));
    const wake = (): void => {
      take();
      for (const inbox of inboxes()) inbox.wake();
    };
    inUse(() => inboxes().some((inbox) => inbox.resting) && wake());
    changed.on(wake);
    wake();
  }
  const look = (): void => devices[active]?.inbox.read();
  document.addEventListener('visibilitychange', look);
  window.addEventListener('hashchange', look);
}
