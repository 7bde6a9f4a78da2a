import { type Stream, connect } from '../../../js/src/index';
import { pathTo } from '../api';
import { badge } from '../badge';
import { h, icon, say } from '../dom';
import { called, named } from '../names';
import { changed, credential, people } from '../people';
import { whileSeen } from '../seen';
import { self, turns } from '../turns';
import { type Form, Log } from './log';
import { publisher } from './publisher';
import { Blocks, short } from './wire';

// Long enough to send something meanwhile.
const away = 5_000;
// What comes this soon after a resume was published before it: it is sent in one piece with the beginning.
const catchUp = 150;
const shown = 10; // events from before, so that there is something to look at
// Who does not come back to the window within this time is at something else, and the connection is wanted elsewhere.
const patience = 60_000;

interface Source {
  url: string;
  topics: string[];
  slot: 0 | 1;
}

/** One stream, as it is on the wire, and a way to cut it. It has a connection of its own only while somebody watches, in one window at a time. */
export function inspector(section: HTMLElement): void {
  let stream: Stream | null = null;
  let seen = false;
  let watching = false;
  let lastId = '';
  let returning: number | undefined;
  let resting: number | undefined;
  let cutAt = 0;
  let readyAt = 0;
  let since = 0;
  let sinceNote: HTMLElement | null = null;
  const log = new Log();
  const blocks = new Blocks();
  const status = badge();

  const source = h('select', { id: 'source', on: { change: () => watch() } });
  const topic = h('input', { id: 'watched-topic', value: 'room:1', 'aria-label': 'Topic', autocomplete: 'off', spellcheck: 'false', on: { change: () => watch() } });
  const line = h('code', { class: 'request' });
  const cut = h('button', { type: 'button', on: { click: () => (returning === undefined ? cutOff() : comeBack()) } });
  const start = h('button', { type: 'button', class: 'primary', on: { click: () => (watching ? end() : watch()) } });
  const pause = toggle('Pause', (on) => (log.hold = on));
  const forms = h('div', { class: 'segments', role: 'group', 'aria-label': 'Show data' }, ...(['compact', 'pretty', 'raw'] as const).map(form));
  const filter = h('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter events', autocomplete: 'off', on: { input: () => (log.filter = filter.value) } });
  const clear = h('button', { type: 'button', class: 'quiet', on: { click: () => log.clear() } }, 'Clear');

  section.append(
    h(
      'div',
      { class: 'card' },
      h('div', { class: 'controls' }, h('label', { for: 'source', class: 'unseen' }, 'Watch'), source, topic, start, status.element),
      h('div', { class: 'controls' }, cut, pause, forms),
      h('div', { class: 'controls' }, line, log.waiting, filter, clear),
      log.element,
      publisher(() => wanted()),
    ),
  );

  function form(name: Form): HTMLButtonElement {
    const button = h('button', { type: 'button', 'aria-pressed': String(name === 'compact'), on: { click: () => choose() } }, name.charAt(0).toUpperCase() + name.slice(1));
    const choose = (): void => {
      for (const other of forms.children) other.setAttribute('aria-pressed', String(other === button));
      log.show = name;
    };
    return button;
  }

  function wanted(): Source {
    const [kind = '', value = ''] = source.value.split(' ');
    if (kind === 'seats') return { url: pathTo(`api/schedules/${value}/seats/events`), topics: [], slot: 0 };
    if (kind === 'topic') return { url: pathTo('v1/events'), topics: [topic.value.trim()], slot: 0 };
    return { url: pathTo('v1/events'), topics: [], slot: value === '1' ? 1 : 0 };
  }

  function names(): void {
    const { value } = source;
    source.replaceChildren(
      ...people.map((person) => h('option', { value: `user ${person.slot}` }, `${called(person.id)}’s own stream`)),
      h('option', { value: 'topic' }, 'A topic'),
      ...['1', '2', '3'].map((id) => h('option', { value: `seats ${id}` }, `Seats, schedule ${id}`)),
    );
    if (value !== '') source.value = value;
  }

  /** From the beginning: what is chosen now. */
  function watch(): void {
    topic.hidden = source.value !== 'topic';
    stop();
    lastId = '';
    cutAt = 0;
    log.clear();
    watching = true;
    take();
    open();
    drawCut();
  }

  function end(...why: string[]): void {
    if (!watching) return;
    watching = false;
    stop();
    if (why.length > 0) log.note(...why);
  }

  /** For a while: nobody looks. */
  function rest(): void {
    clearTimeout(resting);
    if (watching) stop();
  }

  function wake(): void {
    clearTimeout(resting);
    if (watching && seen && stream === null && returning === undefined) open();
  }

  function open(): void {
    if (!seen || !watching) return;
    const { url, topics, slot } = wanted();
    const person = people[slot];
    const query = new URLSearchParams(topics.map((name) => ['topic', name]));
    if (person.token === null) query.set('userId', person.id);
    say(line, `GET ${url}${query.size > 0 ? `?${decodeURIComponent(query.toString())}` : ''}`);
    blocks.reset();
    const from = lastId === '' ? { replay: shown } : { lastEventId: lastId };
    const opened = connect(url, { transport: 'fetch', topics, params: { userId: person.id }, ...from, ...credential(person) });
    stream = opened;
    readyAt = 0;
    opened.on('state', (state) => {
      if (stream === opened) status.show(state);
    });
    opened.on('raw', (text) => {
      if (stream === opened) came(text);
    });
    opened.on('error', ({ title, detail }) => {
      if (stream === opened) log.note(detail ?? title);
    });
    status.show(opened.state);
    drawCut();
  }

  function came(text: string): void {
    for (const block of blocks.take(text)) {
      if (block.id !== '') lastId = block.id;
      const late = cutAt > 0 && readyAt > 0 && Date.now() - readyAt < catchUp && !block.comment && !block.event.startsWith('tidegate:');
      log.add(block, late);
      if (block.event === 'tidegate:ready') ready(block.data);
      else if (late) {
        since += 1;
        countSince();
      }
    }
  }

  function ready(data: string): void {
    const { node = '' } = JSON.parse(data) as { node?: string };
    status.show('open', node);
    if (cutAt === 0) return;
    readyAt = Date.now();
    since = 0;
    sinceNote = log.note();
    countSince(node);
    window.setTimeout(() => (cutAt = 0), catchUp);
  }

  function countSince(node?: string): void {
    if (sinceNote === null) return;
    if (node !== undefined) sinceNote.dataset['node'] = node;
    const seconds = ((readyAt - cutAt) / 1_000).toFixed(1);
    say(sinceNote, `Back after ${seconds} s, on ${sinceNote.dataset['node']}. ${since === 0 ? 'Nothing was published meanwhile.' : since === 1 ? '1 event was missed and is here.' : `${since} events were missed and are here.`}`);
  }

  function cutOff(): void {
    stop();
    cutAt = Date.now();
    log.note('Connection cut. The last id was ', h('code', { title: lastId }, short(lastId)), '. Publish something now.');
    status.show('offline');
    const tick = (): void => {
      const left = Math.ceil((cutAt + away - Date.now()) / 1_000);
      if (left <= 0) return comeBack();
      returning = window.setTimeout(tick, 250);
      drawCut(left);
    };
    tick();
  }

  function comeBack(): void {
    clearTimeout(returning);
    returning = undefined;
    log.note('Connecting again, with ', h('code', { title: lastId }, `last_event_id=${short(lastId)}`));
    open();
  }

  function stop(): void {
    clearTimeout(returning);
    returning = undefined;
    stream?.close();
    stream = null;
    status.show('idle');
    drawCut();
  }

  function drawCut(seconds?: number): void {
    const text = seconds === undefined ? 'Cut connection' : `Come back now (${seconds})`;
    if (cut.textContent !== text) cut.replaceChildren(icon('cut'), text);
    cut.disabled = stream === null && returning === undefined;
    say(start, watching ? 'Stop' : 'Start watching');
    start.classList.toggle('primary', !watching);
    cut.classList.toggle('primary', watching);
    cut.hidden = !watching;
  }

  const take = turns('inspector', () => self, () => end('Another window watches now: one at a time, so that connections are left for the rest.'));
  changed.on(() => {
    names();
    if (watching) watch();
  });
  named.on(names);
  names();
  topic.hidden = true;
  status.show('idle');
  drawCut();
  log.note('Every event as it is on the wire. It takes a connection of its own, so nothing is watched yet.');
  window.addEventListener('blur', () => {
    clearTimeout(resting);
    resting = window.setTimeout(rest, patience);
  });
  window.addEventListener('focus', wake);
  whileSeen(
    section,
    () => {
      seen = true;
      wake();
    },
    () => {
      seen = false;
      rest();
    },
  );
}

function toggle(text: string, change: (on: boolean) => void): HTMLButtonElement {
  const button = h('button', { type: 'button', 'aria-pressed': 'false', on: { click: () => set(button.getAttribute('aria-pressed') !== 'true') } }, text);
  const set = (on: boolean): void => {
    button.setAttribute('aria-pressed', String(on));
    change(on);
  };
  return button;
}
