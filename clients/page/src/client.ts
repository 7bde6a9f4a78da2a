// Stand-in until the client library is there.
type Handler = (data: any, event: any) => void;
export interface Options { params?: Record<string, string>; token?: string | (() => string | Promise<string>); transport?: 'auto' | 'eventsource' | 'fetch' | 'poll'; topics?: string[]; lastEventId?: string; replay?: number; shared?: boolean | string }
export interface Stream { state: string; lastEventId: string | null; on(event: string, handler: Handler): () => void; cut(): void; reconnect(): void; close(): void }
export function connect(path: string, options: Options = {}): Stream {
  const handlers = new Map<string, Set<Handler>>(); let abort = new AbortController(), timer = 0, closed = false;
  const emit = (name: string, data: any, event: any) => handlers.get(name)?.forEach((h) => h(data, event));
  const stream: Stream = {
    state: 'connecting', lastEventId: options.lastEventId ?? null,
    on(name, handler) { if (!handlers.has(name)) handlers.set(name, new Set()); handlers.get(name)!.add(handler); return () => handlers.get(name)?.delete(handler); },
    cut() { abort.abort(); }, reconnect() { clearTimeout(timer); abort.abort(); void run(); }, close() { closed = true; clearTimeout(timer); abort.abort(); set('closed'); },
  };
  function set(state: string) { if (stream.state !== state) { stream.state = state; emit('state', state, {}); } }
  async function run() {
    const mine = (abort = new AbortController()); if (closed) return; set('connecting');
    const url = new URL(path, location.href); for (const [k, v] of Object.entries(options.params ?? {})) url.searchParams.set(k, v); for (const t of options.topics ?? []) url.searchParams.append('topic', t);
    const headers: Record<string, string> = { accept: 'text/event-stream' }; if (stream.lastEventId) headers['Last-Event-ID'] = stream.lastEventId;
    const token = typeof options.token === 'function' ? await options.token() : options.token; if (token) headers.authorization = `Bearer ${token}`;
    try {
      const answer = await fetch(url, { headers, signal: mine.signal }); if (!answer.ok) throw new Error(String(answer.status)); set('open');
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader(); let rest = '';
      for (;;) { const { value, done } = await reader.read(); if (done) break; const blocks = (rest + value).split('\n\n'); rest = blocks.pop()!; for (const b of blocks) block(b); }
    } catch { /* again below */ }
    if (mine !== abort || closed) return; set('offline'); timer = window.setTimeout(run, 800 + Math.random() * 400);
  }
  function block(raw: string) {
    let id = '', name = 'message'; const data: string[] = [];
    for (const line of raw.split('\n')) { const i = line.indexOf(':'); const k = line.slice(0, i), v = line.slice(i + 1).replace(/^ /, ''); if (k === 'id') id = v; else if (k === 'event') name = v; else if (k === 'data') data.push(v); }
    if (id) stream.lastEventId = id; emit('raw', raw + '\n\n', { id, event: name }); if (!data.length) return;
    let value: unknown = data.join('\n'); try { value = JSON.parse(value as string); } catch { /* text */ }
    if (name.startsWith('tidegate:')) return emit(name.slice(9), value, {}); emit(name, value, { id, event: name, raw: data.join('\n') });
  }
  void run(); return stream;
}
