//! Holding live events back: while a stream is opened, or what it receives changes.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;

use tidegate_protocol::{Cursor, Format, Position, Topic};

use super::Emitter;
use super::state::{self, Held, Merge, Phase};
use crate::control_events::Word;
use crate::item::Item;
use crate::wheel::Tick;

/// A change of what a stream receives.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The user became a member: what was published since the position belongs to the stream.
    Joined(Vec<(Topic, Option<Position>)>),
    /// The user is no member any more.
    Left(HashSet<Topic>),
    /// The client wants these, beginning with what comes.
    Asked(Vec<Topic>),
    /// The client does not want these any more.
    Dropped(Vec<Topic>),
}

/// What became of the wish to go live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Live now, or the stream has ended.
    Done,
    /// Memberships changed meanwhile: apply [`Emitter::next_change`] first.
    Changed,
    /// Events were lost meanwhile: what was read and held is worth nothing, and was dropped.
    Reset,
    /// What was read does not reach far enough yet.
    Uneven,
}

impl Emitter {
    /// Holds back live events from now on, for the change to come. True if whoever asked must see to the change; false if somebody is at it.
    pub(crate) fn hold(&self, change: Change) -> bool {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Closed(..) => false,
            Phase::Held(held) => {
                held.changes.push_back(change);
                false
            }
            Phase::Live => {
                let held = Held { changes: VecDeque::from([change]), ..Held::default() };
                state.phase = Phase::Held(Box::new(held));
                true
            }
        }
    }

    /// Tells whoever is at a change already of another one. False if nobody is.
    pub(crate) fn note(&self, change: Change) -> bool {
        let mut state = self.state.lock();
        let Phase::Held(held) = &mut state.phase else { return false };
        held.changes.push_back(change);
        true
    }

    /// The same for one that has been done: if nobody is at a change, the client is told what `say` says.
    pub(crate) fn note_or_tell(
        &self,
        change: Change,
        now: Tick,
        say: impl FnOnce(Format, &mut Cursor) -> Vec<u8>,
    ) {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Held(held) => held.changes.push_back(change),
            Phase::Live => self.speak(state, now, Word::Topics, say),
            Phase::Closed(..) => {}
        }
    }

    /// Drops what is held back of these topics.
    pub(crate) fn forgo(&self, topics: &[Topic]) {
        if let Phase::Held(held) = &mut self.state.lock().phase {
            held.items.retain(|item| !topics.contains(&item.event.topic));
            held.bytes = held.items.iter().map(Item::weight).sum();
        }
    }

    /// Takes the next change to apply while events are held back.
    pub(crate) fn next_change(&self) -> Option<Change> {
        match &mut self.state.lock().phase {
            Phase::Held(held) => held.changes.pop_front(),
            _ => None,
        }
    }

    /// Events were lost: a live stream's client is told so, and whoever is at a join or a change that what is being read is worth nothing.
    /// True: the client was told.
    pub(crate) fn lose(&self, now: Tick, say: impl FnOnce(Format, &mut Cursor) -> Vec<u8>) -> bool {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Live => {
                self.speak(state, now, Word::Reset, say);
                return true;
            }
            Phase::Held(held) => held.reset = true,
            Phase::Closed(..) => {}
        }
        false
    }

    /// Ends the time of holding back, unless something came up: calls `merge` with the events held. If that gives false, it has queued nothing,
    /// and the holding back goes on.
    pub(crate) fn release(
        &self,
        now: Tick,
        merge: impl FnOnce(&mut Merge<'_>, &mut Vec<Item>) -> bool,
    ) -> Release {
        let mut state = self.state.lock();
        let Phase::Held(held) = &mut state.phase else { return Release::Done };
        if held.reset {
            let changes = std::mem::take(&mut held.changes);
            **held = Held { changes, ..Held::default() };
            return Release::Reset;
        }
        if !held.changes.is_empty() {
            return Release::Changed;
        }
        if let Phase::Held(mut held) = std::mem::replace(&mut state.phase, Phase::Live)
            && !merge(&mut Merge { state: &mut state }, &mut held.items)
        {
            state.phase = Phase::Held(held);
            return Release::Uneven;
        }
        self.last.store(now, Ordering::Relaxed);
        state::wake(state);
        Release::Done
    }
}
