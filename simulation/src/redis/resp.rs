//! Redis' protocol, version 3: answers written and read, commands read.

use std::borrow::Cow;

pub type Bytes = Vec<u8>;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Nil,
    Int(i64),
    Simple(Cow<'static, str>),
    Bulk(Bytes),
    Array(Vec<Reply>),
    Set(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Push(Vec<Reply>),
    Error(String),
}

impl Reply {
    pub const OK: Self = Self::Simple(Cow::Borrowed("OK"));

    pub fn error(words: impl Into<String>) -> Self {
        Self::Error(words.into())
    }

    pub fn text(text: &str) -> Self {
        Self::Bulk(text.as_bytes().to_vec())
    }

    pub fn encoded(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    pub fn encode(&self, out: &mut Bytes) {
        match self {
            Self::Nil => out.extend_from_slice(b"_\r\n"),
            Self::Int(number) => line(b':', &number.to_string(), out),
            Self::Simple(text) => line(b'+', text, out),
            Self::Error(text) => line(b'-', text, out),
            Self::Bulk(bytes) => {
                line(b'$', &bytes.len().to_string(), out);
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Array(items) => list(b'*', items, out),
            Self::Set(items) => list(b'~', items, out),
            Self::Push(items) => list(b'>', items, out),
            Self::Map(pairs) => {
                line(b'%', &pairs.len().to_string(), out);
                for (key, value) in pairs {
                    key.encode(out);
                    value.encode(out);
                }
            }
        }
    }

    /// Takes one answer off the front; `None`: it is not complete yet.
    pub fn parse(buffer: &mut Bytes) -> Option<Self> {
        let mut at = 0;
        let reply = read(buffer, &mut at)?;
        buffer.drain(..at);
        Some(reply)
    }
}

/// A command as a client writes it.
pub fn command(args: &[Bytes]) -> Bytes {
    Reply::Array(args.iter().cloned().map(Reply::Bulk).collect()).encoded()
}

/// Takes one command, an array of strings, off the front; `None`: it is not complete yet.
pub fn take_command(buffer: &mut Bytes) -> Option<Vec<Bytes>> {
    let mut at = 0;
    let count = number(take_line(buffer, &mut at)?)? as usize;
    let mut args = Vec::with_capacity(count);
    for _ in 0..count {
        args.push(take_bulk(buffer, &mut at)?);
    }
    buffer.drain(..at);
    Some(args)
}

fn line(kind: u8, text: &str, out: &mut Bytes) {
    out.push(kind);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn list(kind: u8, items: &[Reply], out: &mut Bytes) {
    line(kind, &items.len().to_string(), out);
    items.iter().for_each(|item| item.encode(out));
}

fn take_line<'a>(buffer: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let from = *at;
    let end = from + buffer.get(from..)?.windows(2).position(|pair| pair == b"\r\n")?;
    *at = end + 2;
    Some(&buffer[from..end])
}

fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line.get(1..)?).ok()?.parse().ok()
}

fn take_bulk(buffer: &[u8], at: &mut usize) -> Option<Bytes> {
    let length = number(take_line(buffer, at)?)? as usize;
    let bytes = buffer.get(*at..*at + length)?.to_vec();
    buffer.get(*at + length..*at + length + 2)?;
    *at += length + 2;
    Some(bytes)
}

fn read(buffer: &[u8], at: &mut usize) -> Option<Reply> {
    let start = *at;
    let head = take_line(buffer, at)?;
    let words = || String::from_utf8_lossy(&head[1..]).into_owned();
    let items = |at: &mut usize| (0..number(head)?).map(|_| read(buffer, at)).collect::<Option<Vec<_>>>();
    Some(match head.first()? {
        b'_' => Reply::Nil,
        b':' => Reply::Int(number(head)?),
        b'+' => Reply::Simple(words().into()),
        b'-' => Reply::Error(words()),
        b'$' => {
            *at = start;
            Reply::Bulk(take_bulk(buffer, at)?)
        }
        b'*' => Reply::Array(items(at)?),
        b'~' => Reply::Set(items(at)?),
        b'>' => Reply::Push(items(at)?),
        b'%' => {
            let pair = |_| Some((read(buffer, at)?, read(buffer, at)?));
            Reply::Map((0..number(head)?).map(pair).collect::<Option<Vec<_>>>()?)
        }
        other => panic!("an answer of kind {:?}", char::from(*other)),
    })
}
