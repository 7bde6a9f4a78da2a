import { Refusal, ask } from '../api';
import { h, say } from '../dom';
import { people } from '../people';
import { short } from './wire';

interface Published {
  id: string;
  topic: string;
  nodes: number;
}

/** A form for POST /v1/publish. */
export function publisher(watched: () => { topics: string[]; slot: 0 | 1 }): HTMLElement {
  const topic = h('input', { id: 'publish-topic', autocomplete: 'off', spellcheck: 'false', required: true });
  const event = h('input', { id: 'publish-event', autocomplete: 'off', spellcheck: 'false', placeholder: 'none', value: 'greeting' });
  const data = h('textarea', { id: 'publish-data', rows: '2', spellcheck: 'false' });
  data.value = '{"text":"High tide at noon"}';
  const result = h('p', { class: 'result', role: 'status' });
  const send = async (): Promise<void> => {
    const name = event.value.trim();
    try {
      const published = await ask<Published>(people[0], 'v1/publish', { method: 'POST', body: { topic: topic.value.trim(), ...(name === '' ? {} : { event: name }), data: value(data.value) } });
      const where = published.nodes === 0 ? 'Nobody listens to it.' : published.nodes === 1 ? 'One node has listeners.' : `${published.nodes} nodes have listeners.`;
      say(result, `Stored as ${short(published.id)}. ${where}`);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      say(result, error.message);
    }
  };
  const details = h(
    'details',
    { class: 'publish' },
    h('summary', {}, 'Publish an event'),
    h(
      'form',
      { on: { submit: (submit) => (submit.preventDefault(), void send()) } },
      h('div', {}, h('label', { for: topic.id }, 'Topic'), topic),
      h('div', {}, h('label', { for: event.id }, 'Event'), event),
      h('div', { class: 'wide' }, h('label', { for: data.id }, 'Data'), data),
      h('div', { class: 'row wide' }, h('button', { type: 'submit', class: 'primary' }, 'Publish'), result),
    ),
  );
  details.addEventListener('toggle', () => {
    const { topics, slot } = watched();
    if (topic.value === '') topic.value = topics[0] ?? `user:${people[slot].id}`;
  });
  return details;
}

/** JSON if it is JSON, else a string. */
function value(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
