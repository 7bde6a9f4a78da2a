//! Bytes of an event stream into blocks, by the rules of the HTML standard, section 9.2.6. Written apart from the
//! gateway's encoder, so that neither can repeat the other's mistake.

use std::time::Duration;

use bytes::{Buf, BytesMut};

/// What stood between two empty lines, dispatched by a browser or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// The `id:` of this block; empty means that the position is cleared.
    pub id: Option<String>,
    /// The `event:` name.
    pub event: Option<String>,
    /// The `data:` lines, joined; none means that a browser dispatches nothing.
    pub data: Option<String>,
    /// `retry:`.
    pub retry: Option<Duration>,
    /// The comment lines, without the colon and one space.
    pub comments: Vec<String>,
}

/// A block with data, as a browser dispatches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `id:` of this very block. (A browser shows the last one seen; see `last_event_id`.)
    pub id: Option<String>,
    /// The name; `message` when none was given.
    pub event: String,
    /// The data.
    pub data: String,
    /// `retry:`, if it came along.
    pub retry: Option<Duration>,
}

impl Block {
    /// The event in it, if there is one.
    pub fn into_event(self) -> Option<Event> {
        let event = self.event.filter(|name| !name.is_empty()).unwrap_or_else(|| "message".into());
        Some(Event { id: self.id, event, data: self.data?, retry: self.retry })
    }
}

/// The parser: bytes in, blocks out. An unfinished block at the end of the stream is no block.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: BytesMut,
    /// So much of the buffer is known to hold no end of a line.
    scanned: usize,
    started: bool,
    after_cr: bool,
    block: Block,
}

impl Parser {
    /// Takes what came from the wire, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole block, if its empty line has arrived.
    pub fn next_block(&mut self) -> Option<Block> {
        while let Some(line) = self.next_line() {
            if !line.is_empty() {
                self.field(&line);
            } else if self.block != Block::default() {
                return Some(std::mem::take(&mut self.block));
            }
        }
        None
    }

    /// A line without its end, which is LF, CR or CRLF, wherever the bytes were cut.
    fn next_line(&mut self) -> Option<String> {
        if self.after_cr && !self.buffer.is_empty() {
            if self.buffer[0] == b'\n' {
                self.buffer.advance(1);
            }
            self.after_cr = false;
        }
        let unseen = &self.buffer[self.scanned..];
        let Some(end) = unseen.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.scanned + end);
        self.scanned = 0;
        self.after_cr = self.buffer.get_u8() == b'\r';
        let line = String::from_utf8_lossy(&line).into_owned();
        let first = !std::mem::replace(&mut self.started, true);
        Some(match line.strip_prefix('\u{feff}') {
            Some(rest) if first => rest.to_owned(),
            _ => line,
        })
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        let block = &mut self.block;
        match name {
            "" => block.comments.push(value),
            "id" if !value.contains('\0') => block.id = Some(value),
            "event" => block.event = Some(value),
            "data" => match &mut block.data {
                Some(data) => data.extend(["\n", &value]),
                None => block.data = Some(value),
            },
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                block.retry = value.parse().ok().map(Duration::from_millis);
            }
            _ => {}
        }
    }
}
