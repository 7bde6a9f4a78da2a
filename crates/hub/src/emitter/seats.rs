//! Which channels an emitter sits in, and where it stands in their partitions.

use std::sync::Arc;

use tidegate_protocol::{Cursor, Partition, Position, Topic};

use super::Emitter;
use super::state::Phase;
use crate::channel::Channel;

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

    /// Whether it has a seat at `topic`; if so and `asked`, the seat outlives the membership.
    pub(crate) fn has_seat(&self, topic: &Topic, asked: bool) -> bool {
        let mut state = self.state.lock();
        let seat = state.seats.iter_mut().find(|seat| seat.channel.topic == *topic);
        seat.map(|seat| seat.asked |= asked).is_some()
    }

    /// Takes a seat back that only a membership gave or, with `asked`, any.
    pub(crate) fn unseat(&self, topic: &Topic, asked: bool) -> Option<Seat> {
        let mut state = self.state.lock();
        let at =
            state.seats.iter().position(|seat| seat.channel.topic == *topic && (asked || !seat.asked))?;
        Some(state.seats.swap_remove(at))
    }

    /// The topics it receives, and whether each was asked for.
    pub(crate) fn topics(&self) -> Vec<(Topic, bool)> {
        self.state.lock().seats.iter().map(|seat| (seat.channel.topic.clone(), seat.asked)).collect()
    }
}
