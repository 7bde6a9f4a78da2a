use std::fmt;

use smallvec::SmallVec;

use crate::topic::{MAX_PARTITIONS, Partition};

/// The number that a partition's counter gave to an event: 1, 2, 3, …
pub type Offset = u64;

/// The largest offset: Redis scripts count in doubles, which are exact up to 2^53.
pub const MAX_OFFSET: Offset = 1 << 53;

/// The longest cursor on the wire.
///
/// Eight partitions of `p` + epoch (5) + `-` + offset (8 digits to base 36, 2.8 × 10¹² events) and seven dots are 127 bytes.
/// A single partition's offset may use all of [`MAX_OFFSET`].
pub const MAX_CURSOR_BYTES: usize = 128;

/// Tells a partition's counter from its successor after data loss: five characters out of `[0-9a-z]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; 5]);

impl Epoch {
    /// The epoch that no counter ever has. A cursor with it is well-formed, and always answered with a reset.
    pub const NONE: Self = Self(*b"00000");

    /// Parses five characters out of `[0-9a-z]`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes: [u8; 5] = text.try_into().ok()?;
        bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()).then_some(Self(bytes))
    }

    /// An epoch out of random bits. Never [`Epoch::NONE`].
    pub fn from_random(bits: u64) -> Self {
        let mut rest = 1 + bits % (36u64.pow(5) - 1);
        let mut bytes = [b'0'; 5];
        for byte in bytes.iter_mut().rev() {
            *byte = digit(rest % 36);
            rest /= 36;
        }
        Self(bytes)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("00000")
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in one partition: everything up to and including `offset` is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which life of the counter.
    pub epoch: Epoch,
    /// The last event that is behind this place; 0 before the first.
    pub offset: Offset,
}

/// A connection's whole place: one [`Position`] for each partition in which it has topics.
///
/// On the wire `0k3x9a-1f.3aaaa1-7`: partition, epoch, `-`, offset to base 36. Clients treat it as opaque.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cursor(SmallVec<[(Partition, Position); 1]>);

impl Cursor {
    /// The cursor of a connection with topics in one partition.
    pub fn single(partition: Partition, position: Position) -> Self {
        Self(SmallVec::from_buf([(partition, position)]))
    }

    /// The place in `partition`, if the cursor names one.
    pub fn get(&self, partition: Partition) -> Option<Position> {
        self.0.iter().find(|(p, _)| *p == partition).map(|(_, position)| *position)
    }

    /// Puts the place in `partition`, whatever was there.
    pub fn set(&mut self, partition: Partition, position: Position) {
        match self.0.binary_search_by_key(&partition, |(p, _)| *p) {
            Ok(at) => self.0[at].1 = position,
            Err(at) => self.0.insert(at, (partition, position)),
        }
    }

    /// Every partition named, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, Position)> + '_ {
        self.0.iter().copied()
    }

    /// How many partitions are named.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no partition is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses the wire form, strictly: only what [`fmt::Display`] could have written.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        if text.is_empty() || text.len() > MAX_CURSOR_BYTES {
            return Err(CursorError);
        }
        let mut parts = SmallVec::new();
        for part in text.as_bytes().split(|b| *b == b'.') {
            let (partition, position) = parse_part(part).ok_or(CursorError)?;
            if parts.last().is_some_and(|(last, _): &(Partition, Position)| *last >= partition) {
                return Err(CursorError);
            }
            parts.push((partition, position));
        }
        Ok(Self(parts))
    }

    /// Appends the wire form. Allocates nothing but room in `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (n, (partition, position)) in self.0.iter().enumerate() {
            if n > 0 {
                out.push(b'.');
            }
            out.push(b'0' + partition.0);
            out.extend_from_slice(&position.epoch.0);
            out.push(b'-');
            write_base36(position.offset, out);
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(16);
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// A text that is no cursor of any gateway. It says no more: cursors are opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an event id that the gateway has given out")]
pub struct CursorError;

fn parse_part(part: &[u8]) -> Option<(Partition, Position)> {
    let (&number, rest) = part.split_first()?;
    let partition = number.checked_sub(b'0').filter(|n| *n < MAX_PARTITIONS).map(Partition)?;
    let (epoch, rest) = rest.split_at_checked(5)?;
    let digits = rest.strip_prefix(b"-")?;
    Some((partition, Position { epoch: Epoch::parse(epoch)?, offset: parse_base36(digits)? }))
}

fn parse_base36(digits: &[u8]) -> Option<Offset> {
    if digits.is_empty() || digits.len() > 11 || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |sum, b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'z' => b - b'a' + 10,
            _ => return None,
        };
        sum.checked_mul(36)?.checked_add(u64::from(digit))
    })?;
    (value <= MAX_OFFSET).then_some(value)
}

fn write_base36(mut value: u64, out: &mut Vec<u8>) {
    let mut buffer = [0u8; 13];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = digit(value % 36);
        value /= 36;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

fn digit(value: u64) -> u8 {
    match u8::try_from(value).unwrap_or_default() {
        d @ 0..=9 => b'0' + d,
        d => b'a' + (d - 10),
    }
}
