//! What this node knows of a topic: its subscribers and its recent events.
//!
//! A topic keeps its subscribers and hands them out; what they are is none of its business, hence
//! `S`.

mod recent;
mod state;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use dashmap::DashMap;
use parking_lot::Mutex;
use prometheus::IntGauge;
use tidegate_broker::Broker;
use tidegate_protocol::{Partition, Topic};

pub(crate) use state::TopicState;

use crate::clock::Tick;

/// The topics that this node is subscribed to.
pub(crate) struct Topics<S> {
    states: DashMap<Topic, Arc<TopicState<S>>>,
    /// Topics whose last subscriber left, and when they may be let go.
    lingering: Mutex<VecDeque<(Tick, Topic)>>,
    /// Bytes in the recent events of all topics.
    recent_bytes: Arc<AtomicUsize>,
    broker: Arc<dyn Broker>,
    subscribed: IntGauge,
}

impl<S> Topics<S> {
    pub(crate) fn new(broker: Arc<dyn Broker>, subscribed: IntGauge) -> Self {
        Self {
            states: DashMap::with_shard_amount(64),
            lingering: Mutex::default(),
            recent_bytes: Arc::default(),
            broker,
            subscribed,
        }
    }

    pub(crate) fn get(&self, topic: &Topic) -> Option<Arc<TopicState<S>>> {
        self.states.get(topic).map(|state| Arc::clone(&state))
    }

    /// Those of a partition.
    pub(crate) fn of(&self, partition: Partition) -> Vec<Arc<TopicState<S>>> {
        let ours = self.states.iter().filter(|state| state.partition == partition);
        ours.map(|state| Arc::clone(&state)).collect()
    }

    /// Adds a subscriber: it gets every event dispatched from now on. Returns the key of its slot.
    pub(crate) fn attach(&self, topic: &Topic, subscriber: &Arc<S>) -> (Arc<TopicState<S>>, usize) {
        self.with_state(topic, |state| (Arc::clone(state), state.attach(subscriber)))
    }

    /// Removes a subscriber. After the last one the topic lingers until `linger_until`.
    pub(crate) fn detach(&self, state: &TopicState<S>, key: usize, linger_until: Tick) {
        if state.detach(key, linger_until) {
            self.linger(state, linger_until);
        }
    }

    /// Keeps the topic subscribed without a subscriber, until [`Topics::release`].
    pub(crate) fn hold(&self, topic: &Topic) {
        self.with_state(topic, |state| state.hold());
    }

    /// Ends a hold. After the last one the topic lingers like after [`Topics::detach`].
    pub(crate) fn release(&self, topic: &Topic, linger_until: Tick) {
        if let Some(state) = self.get(topic)
            && state.release(linger_until)
        {
            self.linger(&state, linger_until);
        }
    }

    /// Lets topics go that have lingered long enough.
    pub(crate) fn let_go(&self, now: Tick) {
        while let Some(topic) = self.next_to_let_go(now) {
            let gone = self.states.remove_if(&topic, |topic, state| {
                // Unsubscribed under the map's guard: the next stream subscribes after it, not
                // before.
                let idle = state.is_idle(now);
                if idle {
                    self.broker.unsubscribe(vec![topic.clone()]);
                }
                idle
            });
            if gone.is_some() {
                self.subscribed.dec();
            }
        }
    }

    fn next_to_let_go(&self, now: Tick) -> Option<Topic> {
        let mut lingering = self.lingering.lock();
        let due = lingering.front().is_some_and(|(until, _)| *until <= now);
        due.then(|| lingering.pop_front()).flatten().map(|(_, topic)| topic)
    }

    fn linger(&self, state: &TopicState<S>, until: Tick) {
        self.lingering.lock().push_back((until, state.topic.clone()));
    }

    /// Takes a topic's state into use, and makes it first if there is none. Under the map's guard:
    /// [`Topics::let_go`] removes none that is in use.
    fn with_state<T>(&self, topic: &Topic, into_use: impl FnOnce(&Arc<TopicState<S>>) -> T) -> T {
        let state = self.states.entry(topic.clone()).or_insert_with(|| {
            self.subscribed.inc();
            let partition = topic.partition(self.broker.partitions());
            Arc::new(TopicState::new(topic.clone(), partition, Arc::clone(&self.recent_bytes)))
        });
        into_use(&state)
    }
}
