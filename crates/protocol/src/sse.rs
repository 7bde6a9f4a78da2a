//! The bytes of a Server-Sent Events stream (WHATWG HTML, section 9.2): LF only, one space after the colon, no BOM.

use crate::cursor::Cursor;
use crate::frame::Frame;

/// Encodes one block. `id`, `name` and `data` may each be absent; a block without data is not dispatched by clients, but its id counts.
pub fn frame(id: Option<&Cursor>, name: Option<&str>, data: Option<&[u8]>) -> Frame {
    let mut out = Vec::with_capacity(64 + data.map_or(0, <[u8]>::len));
    if let Some(id) = id {
        push_id(id, &mut out);
    }
    let end = out.len();
    push_block(name, data, &mut out);
    Frame::new(out, end)
}

/// Appends `id: …` and a line end.
pub fn push_id(id: &Cursor, out: &mut Vec<u8>) {
    out.extend_from_slice(b"id: ");
    id.write(out);
    out.push(b'\n');
}

/// Appends `retry: …` (milliseconds) and a line end. Never 0: it makes clients spin.
pub fn push_retry(millis: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("retry: {}\n", millis.max(1)).as_bytes());
}

/// Appends name, data lines and the blank line that ends a block.
///
/// Line ends inside data (CR, LF, CRLF) start a new `data:` line, so no data can write a field of its own. `name` must hold no line end
/// ([`crate::EventName`] makes sure).
pub fn push_block(name: Option<&str>, data: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    let mut rest = data;
    while let Some(text) = rest {
        let end = text.iter().position(|b| matches!(b, b'\n' | b'\r'));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&text[..end.unwrap_or(text.len())]);
        out.push(b'\n');
        rest = end.map(|at| if text[at..].starts_with(b"\r\n") { &text[at + 2..] } else { &text[at + 1..] });
    }
    out.push(b'\n');
}
