//! The stored events of several topics of a partition in the order of their offsets: one answer of
//! bounded size, however many topics and events there are.

use bytes::Bytes;
use redis::{Cmd, Value};
use tidegate_broker::Error;
use tidegate_protocol::{Epoch, Offset, Partition, Position, Topic};

use crate::connect::unexpected;
use crate::keys::Keys;
use crate::scripts::{self, eval};

/// Topics of one window: the script copies an event of each, and Redis serves no other
/// client meanwhile. 64 events of the largest size are 4 MB, and take a few milliseconds.
pub(crate) const TOPICS: usize = 64;

/// Events of one answer, likewise: 512 small ones take as long.
pub(crate) const EVENTS: u32 = 512;

/// How much a window takes, [`EVENTS`] at most. One event always fits.
pub(crate) struct Limits {
    pub(crate) events: u32,
    pub(crate) bytes: usize,
    /// `None`: up to the partition's place.
    pub(crate) upto: Option<Offset>,
}

pub(crate) struct Window {
    /// Where the partition stood.
    pub(crate) head: Position,
    /// Up to here nothing is left out.
    pub(crate) upto: Offset,
    pub(crate) topics: Vec<Stored>,
    /// Each with the index of its topic.
    pub(crate) events: Vec<(usize, Bytes)>,
}

/// What a topic has stored.
pub(crate) struct Stored {
    /// The offset of its last event, which may be gone; 0: none.
    pub(crate) last: Offset,
    /// The `prev` of the first event after the reader's offset, if there is one. It may be after
    /// the window.
    pub(crate) prev: Option<Offset>,
}

/// Asks for what the topics have after an offset each.
pub(crate) fn command(
    keys: &Keys,
    partition: Partition,
    epoch: Epoch,
    topics: &[(&Topic, Offset)],
    limits: &Limits,
) -> Cmd {
    let names = topics.iter().flat_map(|(topic, _)| [keys.record(topic), keys.stream(topic)]);
    let mut command = eval(&scripts::WINDOW, keys, partition, epoch, &names.collect::<Vec<_>>());
    command.arg(limits.events.min(EVENTS)).arg(limits.bytes);
    match limits.upto {
        Some(upto) => command.arg(upto),
        None => command.arg("+"),
    };
    for (_, from) in topics {
        command.arg(from);
    }
    command
}

/// Reads the answer.
pub(crate) fn parse(answer: Value) -> Result<Window, Error> {
    let head = scripts::position(&answer)?;
    let Value::Array(parts) = answer else { return Err(unexpected("a window is an array")) };
    let mut parts = parts.into_iter().skip(2);
    let (Some(upto), Some(Value::Array(about))) = (parts.next(), parts.next()) else {
        return Err(unexpected("a window begins with four parts"));
    };
    let topics = about.chunks_exact(2).map(|pair| {
        let prev = (pair[1] != Value::Int(-1)).then(|| scripts::offset_of(&pair[1])).transpose()?;
        Ok(Stored { last: scripts::offset_of(&pair[0])?, prev })
    });
    let mut window = Window {
        head,
        upto: scripts::offset_of(&upto)?,
        topics: topics.collect::<Result<_, Error>>()?,
        events: Vec::new(),
    };
    while let (Some(number), Some(Value::BulkString(bytes))) = (parts.next(), parts.next()) {
        let number = usize::try_from(scripts::offset_of(&number)?).unwrap_or(usize::MAX);
        if number >= window.topics.len() {
            return Err(unexpected("a window of another topic"));
        }
        window.events.push((number, bytes.into()));
    }
    Ok(window)
}
