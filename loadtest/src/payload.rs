//! What the events say: who sent them, which one of theirs it is, and when.

use std::fmt::Write;

use memchr::memchr;
use memchr::memmem::{self, Finder};

/// An event's data, as the tester writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// Who numbers these events: a publisher, or a user's topic.
    pub(crate) source: u32,
    /// Counted by the source from 0.
    pub(crate) number: u32,
    /// Microseconds since the tester's start.
    pub(crate) sent: u64,
}

/// Data that only says that a stream receives.
pub(crate) const WARM_UP: &str = "warm-up";

impl Payload {
    /// Written over what is in `text`, filled up to `size` bytes.
    pub(crate) fn write(self, size: usize, text: &mut String) {
        text.clear();
        let _ = write!(text, "{} {} {} ", self.source, self.number, self.sent);
        while text.len() < size {
            text.push('x');
        }
    }

    /// In data as it is delivered: by itself, or in an envelope of JSON with a field `data`.
    pub(crate) fn find(data: &[u8]) -> Option<Self> {
        const MARK: &[u8] = b"\"data\":\"";
        match data.first()? {
            b'{' => Self::parse(&data[memmem::find(data, MARK)? + MARK.len()..]),
            _ => Self::parse(data),
        }
    }

    /// None: another's event, such as a gateway's own.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let (source, rest) = number(data)?;
        let (index, rest) = number(rest)?;
        let (sent, _) = number(rest)?;
        Some(Self { source: u32::try_from(source).ok()?, number: u32::try_from(index).ok()?, sent })
    }
}

/// Digits up to a space, and what is behind it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b' ' if at > 0 => return Some((value, &text[at + 1..])),
            _ => return None,
        }
    }
    None
}

/// Finds events' data in a stream's bytes, without looking at every line.
pub(crate) struct Scanner(Finder<'static>);

impl Scanner {
    pub(crate) fn new() -> Self {
        Self(Finder::new(b"\ndata: "))
    }

    /// Calls `each` with every complete data line, and returns how many bytes need not be looked at again.
    pub(crate) fn scan(&self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> usize {
        let mark = self.0.needle().len();
        let mut at = 0;
        while let Some(found) = self.0.find(&bytes[at..]) {
            let data = at + found + mark;
            match memchr(b'\n', &bytes[data..]) {
                Some(length) => {
                    each(&bytes[data..data + length]);
                    // The line's end may begin the next mark.
                    at = data + length;
                }
                None => return at + found,
            }
        }
        at.max(bytes.len().saturating_sub(mark - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_comes_back_as_written() {
        let payload = Payload { source: 31, number: 2_999, sent: 12_345_678 };
        let mut text = String::new();
        payload.write(128, &mut text);
        assert_eq!(text.len(), 128);
        assert_eq!(Payload::parse(text.as_bytes()), Some(payload));
        for other in [WARM_UP, r#"{"topics":[]}"#, "", " ", "1 2", "1 2 x", "99999999999 1 1 x"] {
            assert_eq!(Payload::parse(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn data_is_found_in_an_envelope() {
        let payload = Payload { source: 1, number: 2, sent: 3 };
        let enveloped = br#"{"channel":"t","pub":{"data":"1 2 3 xxx","offset":7}}"#;
        assert_eq!(Payload::find(enveloped), Some(payload));
        assert_eq!(Payload::find(b"1 2 3 xxx"), Some(payload));
        assert_eq!(Payload::find(br#"{"connection":"1","topics":[]}"#), None);
        assert_eq!(Payload::find(b""), None);
    }

    #[test]
    fn every_line_is_found_wherever_the_reads_cut_the_stream() {
        let stream = "3f\r\nretry: 1\nevent: tidegate:ready\ndata: {}\n\n\r\n9\r\nid: 1\ndata: one\n\n\r\n4\r\n\ndata: two\n\
                      data: three\n\n\r\n: data: no\n\ndata: four\n\n";
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let mut seen = Vec::new();
                let mut rest = Vec::new();
                for part in [&stream[..first], &stream[first..second], &stream[second..]] {
                    rest.extend_from_slice(part.as_bytes());
                    let done = Scanner::new()
                        .scan(&rest, |data| seen.push(String::from_utf8_lossy(data).into_owned()));
                    rest.drain(..done);
                }
                assert_eq!(seen, ["{}", "one", "two", "three", "four"], "cut at {first} and {second}");
            }
        }
    }
}
