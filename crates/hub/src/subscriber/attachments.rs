//! Which channels an emitter sits in, and where it stands in their partitions.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_protocol::{Cursor, Partition, Position, Topic};

use super::Emitter;
use super::state::Phase;
use crate::topics::Channel;

/// An emitter's place in a channel.
pub(crate) struct Seat {
    pub(crate) channel: Arc<Channel>,
    pub(crate) key: usize,
    /// The client asked for the topic, or it is the user's own: it stays when the membership goes.
    pub(crate) asked: bool,
}

impl Emitter {
    /// The channels at which it has a seat.
    pub(crate) fn channels(&self) -> Vec<Arc<Channel>> {
        self.state.lock().seats.iter().map(|seat| Arc::clone(&seat.channel)).collect()
    }

    /// Puts its place in a partition that it had no topic in so far, or none since the partition's epoch began.
    pub(crate) fn place(&self, partition: Partition, position: Position) {
        let mut state = self.state.lock();
        if state.cursor.get(partition).is_none_or(|place| place.epoch != position.epoch) {
            state.cursor.set(partition, position);
        }
    }

    /// Where it stands.
    pub(crate) fn cursor(&self) -> Cursor {
        self.state.lock().cursor.clone()
    }

    /// Takes a seat's note. False if the stream has ended: the caller must give the seat back.
    pub(crate) fn seat(&self, seat: Seat) -> bool {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Closed(..)) {
            return false;
        }
        state.seats.push(seat);
        true
    }

    /// Those of `topics` at which it has no seat, each once. With `asked`, its seats at the others
    /// outlive the membership.
    pub(crate) fn without_seat<'a>(&self, topics: &'a [Topic], asked: bool) -> Vec<&'a Topic> {
        let mut without: HashSet<&Topic> = topics.iter().collect();
        for seat in &mut self.state.lock().seats {
            if without.remove(&seat.channel.topic) {
                seat.asked |= asked;
            }
        }
        topics.iter().filter(|topic| without.remove(topic)).collect()
    }

    /// Whether it has a seat at `topic`.
    pub(crate) fn has_seat(&self, topic: &Topic) -> bool {
        self.state.lock().seats.iter().any(|seat| seat.channel.topic == *topic)
    }

    /// Takes the seats back at the topics that `which` names: those that only memberships gave or,
    /// with `asked`, all.
    pub(crate) fn unseat(&self, asked: bool, which: impl Fn(&Topic) -> bool) -> Vec<Seat> {
        let mut state = self.state.lock();
        let goes = |seat: &mut Seat| (asked || !seat.asked) && which(&seat.channel.topic);
        state.seats.extract_if(.., goes).collect()
    }

    /// How many topics its client asked for, the user's own among them.
    pub(crate) fn asked(&self) -> usize {
        self.state.lock().seats.iter().filter(|seat| seat.asked).count()
    }

    /// The topics it receives, and whether each was asked for.
    pub(crate) fn topics(&self) -> Vec<(Topic, bool)> {
        self.state.lock().seats.iter().map(|seat| (seat.channel.topic.clone(), seat.asked)).collect()
    }
}
