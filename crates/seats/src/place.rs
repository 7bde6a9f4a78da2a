//! The names of things.

use std::fmt;
use std::sync::Arc;

use tidegate_protocol::Topic;

/// The longest id of a schedule, in characters: a UUID, a slug or a number fits.
const MAX_SCHEDULE: usize = 100;

/// A performance, a flight, a screening: whatever has seats. Every valid id has them.
///
/// 1–100 characters without white space and control characters. At four bytes a character its topic may still be too long; the topic decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Schedule {
    id: Arc<str>,
    topic: Topic,
}

impl Schedule {
    /// Takes an id; the error is a sentence for whoever sent it.
    pub fn parse(id: &str) -> Result<Self, String> {
        let length = id.chars().count();
        if !(1..=MAX_SCHEDULE).contains(&length) {
            return Err(format!(
                "A schedule's id has 1 to {MAX_SCHEDULE} characters, this one has {length}."
            ));
        }
        let topic = Topic::parse(&format!("$seats:{id}")).map_err(|error| format!("{id:?}: {error}."))?;
        Ok(Self { id: id.into(), topic })
    }

    /// Where its changes are published. Of the gateway's own topics: nobody else can publish there.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// One seat of one schedule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which schedule.
    pub schedule: Schedule,
    /// The seat's number, from 1.
    pub number: u32,
}
