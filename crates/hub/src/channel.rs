use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use slab::Slab;
use tidegate_protocol::{Partition, Position, Topic};

use crate::Options;
use crate::emitter::Emitter;
use crate::item::Item;

/// One topic on this node: its emitters and its most recent events.
pub(crate) struct Channel {
    pub(crate) topic: Topic,
    pub(crate) partition: Partition,
    state: Mutex<State>,
    /// Bytes in the rings of all channels.
    total: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    emitters: Slab<Arc<Emitter>>,
    ring: VecDeque<Item>,
    bytes: usize,
    /// Every event of the topic after this place that was dispatched is in the ring. `None`: not known yet.
    floor: Option<Position>,
}

impl Channel {
    pub(crate) fn new(topic: Topic, partition: Partition, total: Arc<AtomicUsize>) -> Self {
        Self { topic, partition, state: Mutex::default(), total }
    }

    /// Adds an emitter: it gets every event dispatched from now on.
    pub(crate) fn attach(&self, emitter: &Arc<Emitter>) -> usize {
        self.state.lock().emitters.insert(Arc::clone(emitter))
    }

    /// Removes an emitter. True if it was the last.
    pub(crate) fn detach(&self, seat: usize) -> bool {
        let mut state = self.state.lock();
        let gone = state.emitters.try_remove(seat);
        let last = state.emitters.is_empty();
        drop(state);
        drop(gone);
        last
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().emitters.is_empty()
    }

    /// The subscription is confirmed at `position`: the ring is whole from there.
    pub(crate) fn confirmed(&self, position: Position) {
        self.state.lock().floor.get_or_insert(position);
    }

    /// Keeps the items (all of this topic, in order) and calls `each` for every emitter, under the lock: an emitter attached before is
    /// called, one attached later finds them in the ring.
    pub(crate) fn dispatch(&self, items: &[Item], options: &Options, mut each: impl FnMut(&Arc<Emitter>)) {
        let mut state = self.state.lock();
        for item in items.iter().filter(|item| item.event.mark.stored()) {
            state.keep(item.clone(), options, &self.total);
        }
        for (_, emitter) in &state.emitters {
            each(emitter);
        }
    }

    /// The events after `position`, if the ring reaches back that far.
    pub(crate) fn after(&self, position: Position) -> Option<Vec<Item>> {
        let state = self.state.lock();
        let floor = state.floor.filter(|floor| floor.epoch == position.epoch)?;
        let whole = floor.offset <= position.offset
            || state
                .ring
                .front()
                .is_some_and(|item| item.event.mark.prev.is_some_and(|prev| prev <= position.offset));
        whole.then(|| {
            state.ring.iter().filter(|item| item.event.mark.offset > position.offset).cloned().collect()
        })
    }

    /// Puts events read from the store (everything of the topic from `from` to `head`) before those in the ring, if they meet.
    pub(crate) fn backfill(&self, from: Position, head: Position, items: &[Item], options: &Options) {
        let mut state = self.state.lock();
        let Some(floor) = state.floor.filter(|f| f.epoch == from.epoch && f.epoch == head.epoch) else {
            return;
        };
        if floor.offset > head.offset || from.offset >= floor.offset {
            return;
        }
        let first = state.ring.front().map_or(u64::MAX, |item| item.event.mark.offset);
        for item in items.iter().rev().filter(|item| item.event.mark.offset < first) {
            let weight = item.weight();
            if state.ring.len() >= options.ring_events
                || state.bytes + weight > options.ring_bytes
                || self.total.load(Ordering::Relaxed) + weight > options.ring_total
            {
                state.floor = Some(item.event.mark.position());
                return;
            }
            state.bytes += weight;
            self.total.fetch_add(weight, Ordering::Relaxed);
            state.ring.push_front(item.clone());
        }
        state.floor = Some(from);
    }

    /// Forgets the ring: events were lost, and it is whole from `position` on.
    pub(crate) fn reset(&self, position: Position) {
        let mut state = self.state.lock();
        state.clear(&self.total);
        state.floor = Some(position);
    }

    /// Its emitters now.
    pub(crate) fn emitters(&self) -> Vec<Arc<Emitter>> {
        self.state.lock().emitters.iter().map(|(_, emitter)| Arc::clone(emitter)).collect()
    }
}

impl State {
    fn keep(&mut self, item: Item, options: &Options, total: &AtomicUsize) {
        let weight = item.weight();
        self.bytes += weight;
        total.fetch_add(weight, Ordering::Relaxed);
        self.ring.push_back(item);
        while self.ring.len() > options.ring_events
            || self.bytes > options.ring_bytes
            || total.load(Ordering::Relaxed) > options.ring_total
        {
            let Some(old) = self.ring.pop_front() else { break };
            self.bytes -= old.weight();
            total.fetch_sub(old.weight(), Ordering::Relaxed);
            self.floor = Some(old.event.mark.position());
        }
    }

    fn clear(&mut self, total: &AtomicUsize) {
        total.fetch_sub(self.bytes, Ordering::Relaxed);
        self.ring = VecDeque::new();
        self.bytes = 0;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.state.get_mut().clear(&self.total);
    }
}
