//! From a connection's bytes to words: Server-Sent Events, WebSocket frames, answers to polls.

use std::fmt;
use std::ops::Range;

use memchr::memmem::{self, FinderRev};
use memchr::{memchr, memrchr};

use super::body::{Body, Head};
use super::{frame, poll};
use crate::payload::Scanner;
use crate::profile::Via;

/// Who is told what was heard.
pub(crate) trait Listener {
    /// The server has said that from now on it sends what there is.
    fn opened(&mut self);
    fn event(&mut self, data: &[u8]);
    /// Where to come back to.
    fn cursor(&mut self, id: &str);
    /// How long to wait before coming back, in milliseconds.
    fn retry(&mut self, millis: u64);
    /// The server ends it, and why.
    fn closing(&mut self, reason: &str);
    /// The server can't continue from where the client was; what it said of it, as JSON, if anything.
    fn reset(&mut self, data: &[u8]);
}

/// What is to be done after hearing.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Not all there: to stand before what comes next.
    pub(crate) rest: Range<usize>,
    /// To be said at once.
    pub(crate) answer: Vec<u8>,
    /// A poll was answered: ask again.
    pub(crate) again: bool,
    /// Nothing more will come.
    pub(crate) ended: bool,
}

/// What ends a connection, other than its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Status(u16),
    Malformed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Malformed => f.write_str("malformed answer"),
        }
    }
}

/// One connection's ear; its memory is what the client keeps.
pub(crate) struct Ear {
    via: Via,
    greets: bool,
    /// What has come can't be a proxy's any more, which says when to come back without a greeting.
    greeted: bool,
    stage: Stage,
}

enum Stage {
    Head,
    Stream(Body),
    Frames,
    Answer(Body),
}

/// Searches that are built once.
pub(crate) struct Searches {
    scanner: Scanner,
    block_end: FinderRev<'static>,
    id: FinderRev<'static>,
    control: memmem::Finder<'static>,
}

impl Searches {
    pub(crate) fn new() -> Self {
        Self {
            scanner: Scanner::new(),
            block_end: FinderRev::new(b"\n\n"),
            id: FinderRev::new(b"\nid: "),
            control: memmem::Finder::new(b"\nevent: tidegate:"),
        }
    }
}

impl Ear {
    /// `greets`: the server says itself when a stream is open.
    pub(crate) fn new(via: Via, greets: bool) -> Self {
        Self { via, greets, greeted: false, stage: Stage::Head }
    }

    /// `bytes`: the last turn's rest, and from `fresh` on what has come since.
    pub(crate) fn hear(
        &mut self,
        bytes: &mut [u8],
        mut fresh: usize,
        searches: &Searches,
        to: &mut impl Listener,
    ) -> Result<Turn, Fault> {
        let mut start = 0;
        if let Stage::Head = self.stage {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                return Ok(Turn { rest: 0..bytes.len(), ..Turn::default() });
            };
            self.head(Head::parse(&bytes[..end])?, to)?;
            fresh = end + 4;
            // A stream's lines are found by the line end before them: it begins with the head's.
            start = if let Stage::Stream(_) = self.stage { end + 3 } else { fresh };
        }
        match &mut self.stage {
            Stage::Head => Ok(Turn::default()),
            Stage::Stream(body) => {
                let end = fresh + body.decode(&mut bytes[fresh..])?;
                let ended = body.finished();
                let done = self.blocks(&bytes[start..end], searches, to);
                Ok(Turn { rest: start + done..end, ended, ..Turn::default() })
            }
            Stage::Frames => {
                let (done, answer, ended) = frame::hear(&mut bytes[start..], to)?;
                Ok(Turn { rest: start + done..bytes.len(), answer, ended, again: false })
            }
            Stage::Answer(body) => {
                let end = fresh + body.decode(&mut bytes[fresh..])?;
                if !body.finished() {
                    return Ok(Turn { rest: start..end, ..Turn::default() });
                }
                self.stage = Stage::Head;
                poll::hear(&bytes[start..end], to)?;
                Ok(Turn { again: true, ..Turn::default() })
            }
        }
    }

    fn head(&mut self, head: Head, to: &mut impl Listener) -> Result<(), Fault> {
        let expected = if self.via == Via::Ws { 101 } else { 200 };
        if head.status != expected {
            return Err(Fault::Status(head.status));
        }
        self.stage = match self.via {
            Via::Ws => Stage::Frames,
            Via::Poll => Stage::Answer(head.body),
            Via::Sse | Via::H2 => {
                if !self.greets {
                    to.opened();
                }
                Stage::Stream(head.body)
            }
        };
        Ok(())
    }

    /// Whole blocks alone count: one that is cut off will come again. Returns how many bytes need not be looked at again;
    /// the line end that the next block begins with is kept.
    fn blocks(&mut self, bytes: &[u8], searches: &Searches, to: &mut impl Listener) -> usize {
        let Some(last) = searches.block_end.rfind(bytes) else { return 0 };
        let blocks = &bytes[..=last];
        if self.greets {
            let mut at = 0;
            while let Some(found) = searches.control.find(&blocks[at..]) {
                at += found + searches.control.needle().len();
                control(blocks, at, to);
            }
        }
        if !self.greeted
            && let Some(found) = memmem::find(blocks, b"\nretry: ")
        {
            retry(&blocks[found + 8..], to);
        }
        self.greeted = self.greets;
        searches.scanner.scan(blocks, |data| to.event(data));
        if let Some(found) = searches.id.rfind(blocks) {
            to.cursor(std::str::from_utf8(line(&blocks[found + 5..])).unwrap_or_default());
        }
        last + 1
    }
}

/// A block of the gateway's own; `at` is behind `event: tidegate:`.
fn control(blocks: &[u8], at: usize, to: &mut impl Listener) {
    let end = memmem::find(&blocks[at..], b"\n\n").map_or(blocks.len(), |end| at + end);
    let begin = memmem::rfind(&blocks[..at], b"\n\n").unwrap_or_default();
    if let Some(found) = memmem::find(&blocks[begin..end], b"\nretry: ") {
        retry(&blocks[begin + found + 8..end], to);
    }
    match line(&blocks[at..end]) {
        b"ready" => to.opened(),
        b"closing" => to.closing(reason(&blocks[at..end])),
        b"reset" => to.reset(data(&blocks[begin..end])),
        _ => {}
    }
}

/// A block's first line of data.
fn data(block: &[u8]) -> &[u8] {
    const MARK: &[u8] = b"\ndata: ";
    memmem::find(block, MARK).map_or(&[], |found| line(&block[found + MARK.len()..]))
}

/// What a closing's data gives as its reason.
pub(crate) fn reason(data: &[u8]) -> &str {
    const MARK: &[u8] = b"\"reason\":\"";
    let Some(found) = memmem::find(data, MARK) else { return "" };
    let rest = &data[found + MARK.len()..];
    let end = memchr(b'"', rest).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}

fn retry(text: &[u8], to: &mut impl Listener) {
    if let Some(millis) = std::str::from_utf8(line(text)).ok().and_then(|text| text.parse().ok()) {
        to.retry(millis);
    }
}

/// Up to the line's end.
fn line(text: &[u8]) -> &[u8] {
    let line = &text[..memchr(b'\n', text).unwrap_or(text.len())];
    match memrchr(b'\r', line) {
        Some(end) if end + 1 == line.len() => &line[..end],
        _ => line,
    }
}

#[cfg(test)]
#[path = "ear_tests.rs"]
pub(super) mod tests;
