/** A block of the stream as it was sent, and what its fields say. */
export interface Block {
  at: number;
  raw: string;
  id: string;
  event: string;
  data: string;
  /** Only a comment: a heartbeat. */
  comment: boolean;
}

/** Cuts the text of a stream into its blocks. Pieces come as the network cuts them. */
export class Blocks {
  private rest = '';

  take(text: string): Block[] {
    const parts = (this.rest + text).split('\n\n');
    this.rest = parts.pop() ?? '';
    return parts.filter((part) => part.trim() !== '').map(read);
  }

  /** A new connection begins at the beginning. */
  reset(): void {
    this.rest = '';
  }
}

function read(raw: string): Block {
  const block: Block = { at: Date.now(), raw: raw.replace(/^\n+/, ''), id: '', event: '', data: '', comment: true };
  const data: string[] = [];
  for (const line of block.raw.split('\n')) {
    const colon = line.indexOf(':');
    if (colon === 0) continue;
    block.comment = false;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'id') block.id = value;
    else if (field === 'event') block.event = value;
    else if (field === 'data') data.push(value);
  }
  block.data = data.join('\n');
  if (block.event === '' && data.length > 0) block.event = 'message';
  return block;
}

/** The end of an id, where ids differ. */
export const short = (id: string): string => (id.length > 12 ? `…${id.slice(-10)}` : id);

export function pretty(data: string): string {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === 'object' ? JSON.stringify(value, null, 2) : data;
  } catch {
    return data;
  }
}
