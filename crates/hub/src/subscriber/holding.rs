//! Holding live events back: while a stream is opened, or what it receives changes.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use tidegate_protocol::{Cursor, Format, Partition, Position, Topic};

use super::Subscriber;
use super::batch::InitialBatch;
use super::state::{self, Held, Phase};
use crate::change::Change;
use crate::clock::Tick;
use crate::control_events::ControlEvent;
use crate::item::Item;

/// What became of the attempt to go live.
#[derive(Debug)]
pub(crate) enum Release<B> {
    /// Live now, or the stream has ended.
    Done,
    /// Changes came meanwhile: apply [`Subscriber::next_change`] first.
    Changed,
    /// Events were lost meanwhile: what was read and held is worth nothing, and was dropped.
    Lost,
    /// Another epoch has begun meanwhile: what was read has names of the one before.
    Moved,
    /// What was read does not reach far enough yet.
    Behind(B),
}

/// Who applies a change that was given to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The caller: live events are held back from now on.
    Started,
    /// The catch-up that is under way; or the stream has ended.
    Queued,
}

impl Subscriber {
    /// Holds back live events from now on, for the change to come.
    pub(crate) fn hold(&self, change: Change) -> Hold {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Held(held) => held.changes.push_back(change),
            Phase::Live => {
                let held = Held { changes: VecDeque::from([change]), ..Held::default() };
                state.phase = Phase::Held(Box::new(held));
                return Hold::Started;
            }
            Phase::Closing(_) | Phase::Cut(_) => {}
        }
        Hold::Queued
    }

    /// Leaves a change to the catch-up that is under way. False if there is none.
    pub(crate) fn queue_change(&self, change: Change) -> bool {
        let mut state = self.state.lock();
        let Phase::Held(held) = &mut state.phase else { return false };
        held.changes.push_back(change);
        true
    }

    /// The same for a change that has been made. If no catch-up is under way, the client gets the
    /// `tidegate:unsubscribed` that `event` makes.
    pub(crate) fn queue_or_announce(
        &self,
        change: Change,
        now: Tick,
        event: impl FnOnce(Format, &mut Cursor) -> Vec<u8>,
    ) {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Held(held) => held.changes.push_back(change),
            Phase::Live => self.send_control(state, now, ControlEvent::Topics, event),
            Phase::Closing(_) | Phase::Cut(_) => {}
        }
    }

    /// Drops what is held back of these topics.
    pub(crate) fn drop_held(&self, topics: &[Topic]) {
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

    /// Events were lost: the client of a live stream gets the reset that `event` makes, and a
    /// catch-up that is under way learns that what it reads is worth nothing. True: the client got
    /// it.
    pub(crate) fn lose(&self, now: Tick, event: impl FnOnce(Format, &mut Cursor) -> Vec<u8>) -> bool {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Live => {
                self.send_control(state, now, ControlEvent::Reset, event);
                return true;
            }
            Phase::Held(held) => held.lost = true,
            Phase::Closing(_) | Phase::Cut(_) => {}
        }
        false
    }

    /// Its position in the partition is one of another epoch from now on: no event was lost. What is
    /// held back goes along; what a catch-up has read so far has names of the epoch before.
    pub(crate) fn move_to(&self, partition: Partition, position: Position) {
        let mut state = self.state.lock();
        let Some(at) = state.cursor.get(partition).filter(|at| at.epoch != position.epoch) else {
            if let Phase::Held(held) = &mut state.phase {
                held.moved = true;
            }
            return;
        };
        match &mut state.phase {
            Phase::Held(held) => {
                held.moved = true;
                let ours = held.items.iter_mut().filter(|item| item.event.mark.partition == partition);
                ours.for_each(|item| *item = item.in_epoch(position.epoch));
                // Not further: what is held back comes after it.
                state.cursor.set(partition, Position { epoch: position.epoch, ..at });
            }
            // What was read may be ahead of what was dispatched.
            _ => state.cursor.set(partition, Position { offset: position.offset.max(at.offset), ..position }),
        }
    }

    /// Goes live, unless something came up: `write` queues the batch, with the events held. If it
    /// fails, it has queued nothing, and the holding back goes on.
    pub(crate) fn release<B>(
        &self,
        now: Tick,
        write: impl FnOnce(&mut InitialBatch<'_>, &mut Vec<Item>) -> Result<(), B>,
    ) -> Release<B> {
        let mut state = self.state.lock();
        let Phase::Held(held) = &mut state.phase else { return Release::Done };
        if held.lost {
            let changes = std::mem::take(&mut held.changes);
            **held = Held { changes, ..Held::default() };
            return Release::Lost;
        }
        if std::mem::take(&mut held.moved) {
            return Release::Moved;
        }
        if !held.changes.is_empty() {
            return Release::Changed;
        }
        if let Phase::Held(mut held) = std::mem::replace(&mut state.phase, Phase::Live)
            && let Err(behind) = write(&mut InitialBatch::new(&mut state), &mut held.items)
        {
            state.phase = Phase::Held(held);
            return Release::Behind(behind);
        }
        self.last_write_at.store(now, Ordering::Relaxed);
        state::wake(state);
        Release::Done
    }
}
