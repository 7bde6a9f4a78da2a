use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;
use slab::Slab;
use tidegate_protocol::{Partition, Position, Topic};

use super::recent::RecentEvents;
use crate::clock::Tick;
use crate::item::Item;
use crate::options::Options;

/// One topic on this node: its subscribers and its most recent events.
pub(crate) struct TopicState<S> {
    pub(crate) topic: Topic,
    pub(crate) partition: Partition,
    state: Mutex<State<S>>,
}

struct State<S> {
    subscribers: Slab<Arc<S>>,
    /// Streams that need the topic subscribed and get no event of it: it carries what changes for
    /// their user.
    holds: usize,
    recent: RecentEvents,
    /// When it may be let go, if it has not been used until then.
    linger_until: Tick,
}

impl<S> TopicState<S> {
    /// `recent_bytes`: the bytes that the recent events of all topics take.
    pub(super) fn new(topic: Topic, partition: Partition, recent_bytes: Arc<AtomicUsize>) -> Self {
        let state = State {
            subscribers: Slab::new(),
            holds: 0,
            recent: RecentEvents::new(recent_bytes),
            linger_until: 0,
        };
        Self { topic, partition, state: Mutex::new(state) }
    }

    pub(super) fn attach(&self, subscriber: &Arc<S>) -> usize {
        self.state.lock().subscribers.insert(Arc::clone(subscriber))
    }

    /// True if it was the last use of the topic.
    pub(super) fn detach(&self, key: usize, linger_until: Tick) -> bool {
        let mut state = self.state.lock();
        let gone = state.subscribers.try_remove(key);
        let last = gone.is_some() && state.linger(linger_until);
        // Not under the lock: the subscriber may end with it.
        drop(state);
        drop(gone);
        last
    }

    pub(super) fn hold(&self) {
        self.state.lock().holds += 1;
    }

    /// True if it was the last use of the topic.
    pub(super) fn release(&self, linger_until: Tick) -> bool {
        let mut state = self.state.lock();
        state.holds = state.holds.saturating_sub(1);
        state.linger(linger_until)
    }

    /// Whether it has been unused for as long as it lingers.
    pub(super) fn is_idle(&self, now: Tick) -> bool {
        let state = self.state.lock();
        state.is_unused() && state.linger_until <= now
    }

    /// The subscription is confirmed at `position`.
    pub(crate) fn confirmed(&self, position: Position) {
        self.state.lock().recent.confirmed(position);
    }

    /// Keeps the items (all of this topic, in order) and calls `each` for every subscriber, under
    /// the lock: one attached before is called, one attached later finds them among the recent
    /// events.
    pub(crate) fn dispatch(&self, items: &[Item], options: &Options, mut each: impl FnMut(&Arc<S>)) {
        let mut state = self.state.lock();
        for item in items.iter().filter(|item| item.event.mark.stored()) {
            state.recent.push(item.clone(), options);
        }
        for (_, subscriber) in &state.subscribers {
            each(subscriber);
        }
    }

    /// The events after `position`, if the recent ones reach back that far.
    pub(crate) fn after(&self, position: Position) -> Option<Vec<Item>> {
        self.state.lock().recent.after(position)
    }

    /// Puts events read from the store (everything of the topic from `from` to `head`) before the
    /// recent ones, if they meet.
    pub(crate) fn backfill(&self, from: Position, head: Position, items: &[Item], options: &Options) {
        self.state.lock().recent.backfill(from, head, items, options);
    }

    /// Events were lost: the recent ones are whole from `position` on.
    pub(crate) fn reset(&self, position: Position) {
        self.state.lock().recent.reset(position);
    }

    /// What is stored up to `position` has been deleted.
    pub(crate) fn forget(&self, position: Position) {
        self.state.lock().recent.forget(position);
    }

    /// Some of what is stored up to `position` may have been deleted.
    pub(crate) fn distrust(&self, position: Position) {
        self.state.lock().recent.distrust(position);
    }

    /// Its subscribers now.
    pub(crate) fn subscribers(&self) -> Vec<Arc<S>> {
        self.state.lock().subscribers.iter().map(|(_, subscriber)| Arc::clone(subscriber)).collect()
    }
}

impl<S> State<S> {
    fn is_unused(&self) -> bool {
        self.subscribers.is_empty() && self.holds == 0
    }

    /// Begins to linger if it is unused, and returns whether it is.
    fn linger(&mut self, until: Tick) -> bool {
        let unused = self.is_unused();
        if unused {
            self.linger_until = until;
        }
        unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_lingers_from_the_last_departure() {
        let topic = Topic::parse("topic:a").expect("valid");
        let partition = topic.partition(1);
        let state = TopicState::new(topic, partition, Arc::default());
        let subscriber = Arc::new(());
        let first = state.attach(&subscriber);
        assert!(state.detach(first, 10));
        let second = state.attach(&subscriber);
        assert!(!state.is_idle(10));
        state.hold();
        assert!(!state.detach(second, 15));
        assert!(!state.is_idle(15));
        assert!(state.release(20));
        assert!(!state.is_idle(15) && state.is_idle(20));
    }
}
