//! Where a partition stands, and how it came there: the line of its epochs.

#[cfg(test)]
mod tests;

use redis::Value;
use tidegate_broker::Error;
use tidegate_protocol::{Epoch, Offset, Position};

use crate::connect::unexpected;
use crate::scripts;

/// What a node learned when it entered a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The current epoch, and how far it had counted.
    pub(crate) head: Position,
    /// Where the epoch began.
    pub(crate) begin: Offset,
    /// Tells the data from those that were lost: a topic's record has it.
    pub(crate) life: String,
    /// The ended epochs, the oldest first.
    line: Vec<Ended>,
    /// A gateway of the version before has written in this epoch. It drops what a topic has kept of
    /// earlier ones.
    old: bool,
    /// What entering began.
    pub(crate) began: Began,
}

/// An ended epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ended {
    epoch: Epoch,
    /// Where it ended; `None`: it is not of this line, but nodes have seen events of it.
    last: Option<Offset>,
    /// The highest offset of it that a node has told of.
    told: Option<Offset>,
    clean: bool,
}

/// What a node began by entering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Began {
    Nothing,
    /// Another reign, with all events.
    Clean,
    /// Events were lost.
    Lossy,
    /// There was no place.
    Life,
}

/// Whether a position goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing after it was lost: it is the same offset of the current epoch.
    Continues,
    /// It is ahead of the counter of the current epoch.
    Ahead,
    /// Events were lost. What is after this offset is not what the position's epoch had there.
    Lost(Offset),
}

impl Began {
    /// The word in the metric.
    pub(crate) fn cause(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Clean => Some("clean"),
            Self::Lossy => Some("lossy"),
            Self::Life => Some("new"),
        }
    }
}

impl Place {
    /// A life's first epoch, at its beginning.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn first(epoch: Epoch) -> Self {
        Self {
            head: Position { epoch, offset: 0 },
            begin: 0,
            life: String::new(),
            line: Vec::new(),
            old: false,
            began: Began::Life,
        }
    }

    /// Reads the answer of `enter.lua`.
    pub(crate) fn parse(answer: &Value) -> Result<Self, Error> {
        let Value::Array(parts) = answer else { return Err(scripts::failure(answer, "a place")) };
        let [epoch, counter, begin, life, line, old, began] = parts.as_slice() else {
            return Err(unexpected("a place has seven parts"));
        };
        let text = |value: &Value| match value {
            Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        };
        let (Some(life), Some(line), Some(old), Some(began)) =
            (text(life), text(line), text(old), text(began))
        else {
            return Err(unexpected("a place's texts"));
        };
        let line = line.split_whitespace().map(Ended::parse).collect::<Option<Vec<_>>>();
        Ok(Self {
            head: Position { epoch: scripts::epoch_of(epoch)?, offset: scripts::offset_of(counter)? },
            begin: scripts::offset_of(begin)?,
            life,
            line: line.ok_or_else(|| unexpected("a line of epochs"))?,
            old: !old.is_empty(),
            began: match began.as_str() {
                "" => Began::Nothing,
                "clean" => Began::Clean,
                "lossy" => Began::Lossy,
                _ => Began::Life,
            },
        })
    }

    /// Whether the epoch is the current one, or ended before it.
    pub(crate) fn knows(&self, epoch: Epoch) -> bool {
        epoch == self.head.epoch || self.ended(epoch).is_some()
    }

    /// Whether what `position` has behind it is all that was there, when the counter stands at
    /// `counter`.
    pub(crate) fn judge(&self, position: Position, counter: Offset) -> Verdict {
        let Position { epoch, offset } = position;
        if epoch == self.head.epoch {
            return match offset {
                // It has read what earlier epochs have left up to here. The rest may be gone.
                _ if self.old && offset < self.begin => Verdict::Lost(self.begin),
                _ if offset <= counter => Verdict::Continues,
                _ => Verdict::Ahead,
            };
        }
        let Some(at) = self.line.iter().rposition(|ended| ended.epoch == epoch) else {
            return Verdict::Lost(self.oldest());
        };
        let since = &self.line[at..];
        if !self.old
            && since.iter().all(|ended| ended.clean)
            && since[0].last.is_some_and(|last| offset <= last)
        {
            return Verdict::Continues;
        }
        if self.old {
            return Verdict::Lost(offset.min(self.begin));
        }
        // The last loss shows what was kept. Without one, of an epoch of another line:
        // nodes told of it when this life began.
        let lossy = since.iter().rev().find(|ended| !ended.clean && ended.last.is_some());
        let kept = lossy.unwrap_or(&since[0]).last.unwrap_or(0);
        Verdict::Lost(if since[0].last.is_some() { kept.min(offset) } else { kept })
    }

    /// Whether an event of that name is among what is kept: the primary that gave it is of this
    /// line. `None`: the line does not know its epoch.
    pub(crate) fn has(&self, name: Position) -> Option<bool> {
        if name.epoch == self.head.epoch {
            return Some(true);
        }
        self.ended(name.epoch).map(|ended| ended.last.is_some_and(|last| name.offset <= last))
    }

    /// The epoch that led to this one with all its events, or the first of several without any.
    pub(crate) fn before(&self) -> Option<Epoch> {
        let empty = self.line.iter().rev().take_while(|ended| ended.clean && ended.last == Some(self.begin));
        empty.last().map(|ended| ended.epoch)
    }

    /// From where on this line has events for sure.
    fn oldest(&self) -> Offset {
        // All of a life that is in its first epoch. Later, an unknown epoch may be one that the line
        // has forgotten.
        let first = self.line.iter().all(|ended| ended.last.is_none());
        if first { self.begin } else { self.head.offset }
    }

    fn ended(&self, epoch: Epoch) -> Option<&Ended> {
        self.line.iter().rev().find(|ended| ended.epoch == epoch)
    }
}

impl Ended {
    fn parse(words: &str) -> Option<Self> {
        let mut parts = words.split(':');
        let epoch = Epoch::parse(parts.next()?.as_bytes())?;
        let _reign = parts.next()?;
        let (last, told) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
        let clean = parts.next()? == "clean";
        Some(Self { epoch, last: Offset::try_from(last).ok(), told: Offset::try_from(told).ok(), clean })
    }

    /// Whether an event of it with that offset is accounted for: kept, or told.
    fn covers(&self, offset: Offset) -> bool {
        self.last.max(self.told).is_some_and(|highest| offset <= highest)
    }
}

/// What a node has seen of a partition: of each epoch the highest offset. A primary that stands
/// behind it has lost events.
///
/// It outlives connections. What a primary has accepted is not forgotten at once: that primary may be
/// lost, too.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    seen: Vec<(Epoch, Offset)>,
    place: Option<Place>,
}

/// Epochs that must have begun after one before its evidence goes: three quarters of a line. A
/// primary that is a few reigns behind is still caught.
const LATER: usize = 24;

impl Evidence {
    /// An event of that name exists or existed.
    pub(crate) fn note(&mut self, name: Position) {
        match self.seen.iter_mut().rev().find(|(epoch, _)| *epoch == name.epoch) {
            Some((_, offset)) if *offset >= name.offset => return,
            Some((_, offset)) => *offset = name.offset,
            None => self.seen.push((name.epoch, name.offset)),
        }
        // Seen in the epoch that the node has entered: what led there is proven with it.
        if let Some(place) = &self.place
            && name.epoch == place.head.epoch
            && name.offset > place.begin
        {
            self.seen
                .retain(|(epoch, offset)| !place.ended(*epoch).is_some_and(|ended| ended.covers(*offset)));
        }
    }

    /// Where the node has entered last, perhaps not told to others yet.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// As `enter.lua` takes it.
    pub(crate) fn entries(&self) -> &[(Epoch, Offset)] {
        &self.seen
    }

    /// The node has entered with these.
    pub(crate) fn accepted(&mut self, place: &Place) {
        self.stand_for_losses(place);
        let old = place.line.len().saturating_sub(LATER);
        self.seen.retain(|(epoch, offset)| {
            let ended = place.line[..old].iter().find(|ended| ended.epoch == *epoch);
            !ended.is_some_and(|ended| ended.covers(*offset))
        });
        self.place = Some(place.clone());
    }

    /// The epoch that began after the last loss stands, from its beginning, for all that was before
    /// it: the loss must not be told again by a primary that has not heard of it.
    fn stand_for_losses(&mut self, place: &Place) {
        let Some(at) = place.line.iter().rposition(|ended| !ended.clean && ended.last.is_some()) else {
            return;
        };
        let next = place.line.get(at + 1).map_or(place.head.epoch, |ended| ended.epoch);
        let begin = place.line[at].last.unwrap_or_default();
        let before = self.seen.len();
        self.seen.retain(|(epoch, offset)| {
            let ended = place.line[..=at].iter().find(|ended| ended.epoch == *epoch);
            !ended.is_some_and(|ended| ended.covers(*offset))
        });
        let known = self.seen.iter().any(|(epoch, offset)| *epoch == next && *offset >= begin);
        if self.seen.len() < before && !known {
            self.seen.retain(|(epoch, _)| *epoch != next);
            self.seen.push((next, begin));
        }
    }

    /// Whether something is beyond what `place` accounts for: it came in while the node entered.
    pub(crate) fn is_beyond(&self, place: &Place) -> bool {
        self.seen.iter().any(|(epoch, offset)| match place.ended(*epoch) {
            _ if *epoch == place.head.epoch => *offset > place.head.offset,
            Some(ended) => !ended.covers(*offset),
            None => true,
        })
    }
}
