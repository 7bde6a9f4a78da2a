use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use slab::Slab;
use tidegate_protocol::{Partition, Position, Topic};

use crate::Options;
use crate::item::Item;
use crate::subscriber::Emitter;
use crate::wheel::Tick;

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
    /// Streams that need the topic subscribed and get nothing of it: what is told to their user
    /// comes this way.
    holds: usize,
    ring: VecDeque<Item>,
    bytes: usize,
    /// Every event of the topic after this place that was dispatched is in the ring. `None`: not known yet.
    floor: Option<Position>,
    /// The broker has confirmed the subscription. Whatever was dispatched before may be left over from an earlier one.
    confirmed: bool,
    /// What was stored up to here has been deleted.
    forgotten: Option<Position>,
    /// When it may be let go, if nobody has come until then.
    due: Tick,
}

impl Channel {
    pub(crate) fn new(topic: Topic, partition: Partition, total: Arc<AtomicUsize>) -> Self {
        Self { topic, partition, state: Mutex::default(), total }
    }

    /// Adds an emitter: it gets every event dispatched from now on.
    pub(crate) fn attach(&self, emitter: &Arc<Emitter>) -> usize {
        self.state.lock().emitters.insert(Arc::clone(emitter))
    }

    /// Removes an emitter. True if it was the last: the channel may then be let go at `due`.
    pub(crate) fn detach(&self, seat: usize, due: Tick) -> bool {
        let mut state = self.state.lock();
        let gone = state.emitters.try_remove(seat);
        let last = gone.is_some() && state.unused();
        if last {
            state.due = due;
        }
        drop(state);
        drop(gone);
        last
    }

    /// Keeps the topic subscribed, until [`Channel::release`].
    pub(crate) fn hold(&self) {
        self.state.lock().holds += 1;
    }

    /// Ends a hold, like [`Channel::detach`].
    pub(crate) fn release(&self, due: Tick) -> bool {
        let mut state = self.state.lock();
        state.holds = state.holds.saturating_sub(1);
        let last = state.unused();
        if last {
            state.due = due;
        }
        last
    }

    /// Whether nobody has been here for as long as it lingers.
    pub(crate) fn idle(&self, now: Tick) -> bool {
        let state = self.state.lock();
        state.unused() && state.due <= now
    }

    /// The subscription is confirmed at `position`: the ring is whole from there.
    ///
    /// Only from there: what is left over from an earlier subscription may have a hole behind it, which the next event would show, and
    /// until then nothing does.
    pub(crate) fn confirmed(&self, position: Position) {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.confirmed, true) {
            state.cut(position, &self.total);
            // Never back: what was dispatched after `position` may have left the ring already.
            if state.floor.is_none_or(|floor| floor.epoch != position.epoch || floor.offset < position.offset)
            {
                state.floor = Some(position);
            }
        }
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
        let prev = state.ring.front().and_then(|item| item.event.mark.prev);
        let whole = floor.offset <= position.offset || prev.is_some_and(|prev| prev <= position.offset);
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
        // Read before the deletion, it may be.
        if state.forgotten.is_some_and(|last| last.epoch == from.epoch && from.offset < last.offset) {
            return;
        }
        // What is after the floor is in the ring, or will be when it is dispatched.
        for item in items.iter().rev().filter(|item| item.event.mark.offset <= floor.offset) {
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

    /// What is stored up to `position` has been deleted: the ring does not show it any more, nor takes it up again.
    pub(crate) fn forget(&self, position: Position) {
        self.distrust(position);
        self.state.lock().forgotten = Some(position);
    }

    /// Forgets the ring: some of it may have been deleted. It is whole from `position` on, if it was whole at all.
    pub(crate) fn distrust(&self, position: Position) {
        let mut state = self.state.lock();
        state.clear(&self.total);
        // Never back: a subscription confirmed ahead of the dispatch knows nothing of what was before.
        if let Some(floor) = &mut state.floor
            && (floor.epoch != position.epoch || floor.offset < position.offset)
        {
            *floor = position;
        }
    }

    /// Its emitters now.
    pub(crate) fn emitters(&self) -> Vec<Arc<Emitter>> {
        self.state.lock().emitters.iter().map(|(_, emitter)| Arc::clone(emitter)).collect()
    }
}

impl State {
    fn unused(&self) -> bool {
        self.emitters.is_empty() && self.holds == 0
    }

    fn keep(&mut self, item: Item, options: &Options, total: &AtomicUsize) {
        let mark = &item.event.mark;
        let last = self.ring.back().map(|last| last.event.mark.position()).or(self.floor);
        let prev = mark.prev.unwrap_or_default();
        match last.filter(|last| last.epoch == mark.epoch) {
            // From before the floor: the topic was let go and subscribed again, and this is left over from the time before.
            Some(last) if mark.offset <= last.offset => return,
            Some(last) if prev <= last.offset => {}
            // Some are missing between the two.
            _ => {
                self.clear(total);
                self.floor = Some(Position { epoch: mark.epoch, offset: prev });
            }
        }
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

    /// Drops what is not after `position`.
    fn cut(&mut self, position: Position, total: &AtomicUsize) {
        while let Some(old) = self.ring.front() {
            let (mark, weight) = (&old.event.mark, old.weight());
            if mark.epoch == position.epoch && mark.offset > position.offset {
                break;
            }
            self.ring.pop_front();
            self.bytes -= weight;
            total.fetch_sub(weight, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use tidegate_protocol::{Data, Epoch, Event, Format, Mark};

    use super::*;
    use crate::Scope;

    const EPOCH: Epoch = Epoch::NONE;

    fn at(offset: u64) -> Position {
        Position { epoch: EPOCH, offset }
    }

    fn channel() -> Channel {
        let topic = Topic::parse("topic:a").expect("valid");
        let partition = topic.partition(1);
        Channel::new(topic, partition, Arc::default())
    }

    fn item(channel: &Channel, offset: u64, prev: u64) -> Item {
        let mark = Mark { partition: channel.partition, epoch: EPOCH, offset, prev: Some(prev) };
        let data = Data::Text("x".into());
        Item::new(Arc::new(Event { topic: channel.topic.clone(), name: None, data, at: 0, mark }))
    }

    fn after(channel: &Channel, offset: u64) -> Option<Vec<u64>> {
        let items = channel.after(at(offset))?;
        Some(items.iter().map(|item| item.event.mark.offset).collect())
    }

    #[test]
    fn a_ring_answers_only_for_what_it_has_without_a_hole() {
        let (channel, options) = (channel(), Options::default());
        channel.confirmed(at(10));
        // Left over from an earlier subscription, and the first one of this: 8 and 9 are missing between.
        for (offset, prev) in [(7, 5), (12, 9)] {
            channel.dispatch(&[item(&channel, offset, prev)], &options, |_| {});
        }
        assert_eq!(after(&channel, 7), None);
        assert_eq!(after(&channel, 9), Some(vec![12]));
        assert_eq!(after(&channel, 12), Some(vec![]));
        // 15 was lost for good: whoever stands before it must hear that from the store.
        channel.dispatch(&[item(&channel, 20, 15)], &options, |_| {});
        assert_eq!(after(&channel, 12), None);
        assert_eq!(after(&channel, 15), Some(vec![20]));
    }

    #[test]
    fn what_was_left_over_before_the_subscription_was_confirmed_is_not_trusted() {
        let (channel, options) = (channel(), Options::default());
        // 8 was stored while nobody was subscribed, 12 after the confirmation, which is told here a moment later.
        for (offset, prev) in [(6, 5), (7, 6)] {
            channel.dispatch(&[item(&channel, offset, prev)], &options, |_| {});
        }
        channel.confirmed(at(10));
        assert_eq!((after(&channel, 6), after(&channel, 9)), (None, None));
        assert_eq!(after(&channel, 10), Some(vec![]));
        channel.confirmed(at(6));
        assert_eq!(after(&channel, 6), None);

        let channel = self::channel();
        for (offset, prev) in [(7, 6), (12, 8), (13, 12)] {
            channel.dispatch(&[item(&channel, offset, prev)], &options, |_| {});
        }
        channel.confirmed(at(10));
        assert_eq!(after(&channel, 7), None);
        assert_eq!(after(&channel, 10), Some(vec![12, 13]));
    }

    #[test]
    fn what_left_the_ring_before_the_confirmation_was_told_is_not_claimed() {
        let (channel, options) = (channel(), Options { ring_events: 1, ..Options::default() });
        // Both came after the place that was confirmed, and before the hub heard of the confirmation.
        channel.dispatch(&[item(&channel, 11, 9), item(&channel, 12, 11)], &options, |_| {});
        channel.confirmed(at(10));
        assert_eq!(after(&channel, 10), None, "11 is not here any more");
        assert_eq!(after(&channel, 11), Some(vec![12]));
    }

    #[test]
    fn what_is_still_to_come_is_not_filled_in() {
        let (channel, options) = (channel(), Options { ring_events: 4, ..Options::default() });
        channel.confirmed(at(10));
        let read: Vec<Item> =
            [(8, 0), (9, 8), (11, 9), (12, 11)].map(|(n, prev)| item(&channel, n, prev)).into();
        channel.backfill(at(5), at(12), &read, &options);
        assert_eq!(after(&channel, 5), Some(vec![8, 9]));
        channel.dispatch(&read[2..], &options, |_| {});
        assert_eq!(after(&channel, 5), Some(vec![8, 9, 11, 12]));
        channel.dispatch(&[item(&channel, 13, 12)], &options, |_| {});
        assert_eq!((after(&channel, 5), after(&channel, 8)), (None, Some(vec![9, 11, 12, 13])));
    }

    #[test]
    fn what_was_deleted_does_not_come_back_with_a_read_from_before() {
        let (channel, options) = (channel(), Options::default());
        channel.confirmed(at(5));
        let read: Vec<Item> = [(8, 5), (9, 8)].map(|(n, prev)| item(&channel, n, prev)).into();
        channel.dispatch(&read, &options, |_| {});
        channel.forget(at(9));
        channel.backfill(at(5), at(9), &read, &options);
        assert_eq!((after(&channel, 5), after(&channel, 9)), (None, Some(vec![])));
        channel.dispatch(&[item(&channel, 10, 9)], &options, |_| {});
        assert_eq!((after(&channel, 8), after(&channel, 9)), (None, Some(vec![10])));
        channel.distrust(at(10));
        channel.distrust(at(8));
        assert_eq!((after(&channel, 9), after(&channel, 10)), (None, Some(vec![])));
    }

    #[test]
    fn a_channel_lingers_from_the_last_departure() {
        let channel = channel();
        let emitter = Arc::new(Emitter::new(1, Format::Sse, Scope::Own, 0, Tick::MAX, Tick::MAX, None));
        let first = channel.attach(&emitter);
        assert!(channel.detach(first, 10));
        let second = channel.attach(&emitter);
        assert!(!channel.idle(10));
        channel.hold();
        assert!(!channel.detach(second, 15));
        assert!(!channel.idle(15));
        assert!(channel.release(20));
        assert!(!channel.idle(15) && channel.idle(20));
    }
}
