use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_protocol::Position;

use crate::item::Item;
use crate::options::Options;

/// A topic's last events on this node: they answer reconnects without the store.
///
/// Bounded in events, in bytes and in the bytes of all topics; the oldest go first.
pub(super) struct RecentEvents {
    items: VecDeque<Item>,
    bytes: usize,
    /// Every event of the topic after this position that was dispatched is here. `None`: not known
    /// yet.
    floor: Option<Position>,
    /// The broker has confirmed the subscription. Whatever was dispatched before may be left over
    /// from an earlier one.
    confirmed: bool,
    /// What was stored up to here has been deleted.
    forgotten: Option<Position>,
    /// Bytes of all topics.
    total: Arc<AtomicUsize>,
}

impl RecentEvents {
    pub(super) fn new(total: Arc<AtomicUsize>) -> Self {
        Self { items: VecDeque::new(), bytes: 0, floor: None, confirmed: false, forgotten: None, total }
    }

    /// The subscription is confirmed at `position`: they are whole from there.
    ///
    /// Only from there: what is left over from an earlier subscription may have a hole behind it,
    /// which the next event would show, and until then nothing does.
    pub(super) fn confirmed(&mut self, position: Position) {
        if std::mem::replace(&mut self.confirmed, true) {
            return;
        }
        self.drop_until(position);
        // Never back: what was dispatched after `position` may have been dropped already.
        if self.floor.is_none_or(|floor| is_before(floor, position)) {
            self.floor = Some(position);
        }
    }

    /// The events after `position`, if these reach back that far.
    pub(super) fn after(&self, position: Position) -> Option<Vec<Item>> {
        let floor = self.floor.filter(|floor| floor.epoch == position.epoch)?;
        let prev = self.items.front().and_then(|item| item.event.mark.prev);
        let whole = floor.offset <= position.offset || prev.is_some_and(|prev| prev <= position.offset);
        whole.then(|| {
            self.items.iter().filter(|item| item.event.mark.offset > position.offset).cloned().collect()
        })
    }

    /// Adds an event that is dispatched.
    pub(super) fn push(&mut self, item: Item, options: &Options) {
        let mark = &item.event.mark;
        let last = self.items.back().map(|last| last.event.mark.position()).or(self.floor);
        let prev = mark.prev.unwrap_or_default();
        match last.filter(|last| last.epoch == mark.epoch) {
            // From before the floor: the topic was let go and subscribed again, and this is left
            // over from the time before.
            Some(last) if mark.offset <= last.offset => return,
            Some(last) if prev <= last.offset => {}
            // Some are missing between the two.
            _ => {
                self.clear();
                self.floor = Some(Position { epoch: mark.epoch, offset: prev });
            }
        }
        self.grow(item.weight());
        self.items.push_back(item);
        while self.items.len() > options.ring_events
            || self.bytes > options.ring_bytes
            || self.total.load(Ordering::Relaxed) > options.ring_total
        {
            let Some(old) = self.items.pop_front() else { break };
            self.shrink(old.weight());
            self.floor = Some(old.event.mark.position());
        }
    }

    /// Adds what was read of the store in front: everything of the topic from `from` to `head`.
    pub(super) fn backfill(&mut self, from: Position, head: Position, items: &[Item], options: &Options) {
        let Some(floor) = self.floor.filter(|f| f.epoch == from.epoch && f.epoch == head.epoch) else {
            return;
        };
        if floor.offset > head.offset || from.offset >= floor.offset {
            return;
        }
        // It may have been read before the deletion.
        if self.forgotten.is_some_and(|last| last.epoch == from.epoch && from.offset < last.offset) {
            return;
        }
        // What is after the floor is here, or will be when it is dispatched.
        for item in items.iter().rev().filter(|item| item.event.mark.offset <= floor.offset) {
            let weight = item.weight();
            if self.items.len() >= options.ring_events
                || self.bytes + weight > options.ring_bytes
                || self.total.load(Ordering::Relaxed) + weight > options.ring_total
            {
                self.floor = Some(item.event.mark.position());
                return;
            }
            self.grow(weight);
            self.items.push_front(item.clone());
        }
        self.floor = Some(from);
    }

    /// Drops them: events were lost, and they are whole from `position` on.
    pub(super) fn reset(&mut self, position: Position) {
        self.clear();
        self.floor = Some(position);
    }

    /// What is stored up to `position` has been deleted: it is dropped, and not taken up again.
    pub(super) fn forget(&mut self, position: Position) {
        self.distrust(position);
        self.forgotten = Some(position);
    }

    /// Drops them: some may have been deleted. They are whole from `position` on, if they were
    /// whole at all.
    pub(super) fn distrust(&mut self, position: Position) {
        self.clear();
        // Never back: a subscription confirmed ahead of the dispatch knows nothing of what was
        // before.
        if self.floor.is_some_and(|floor| is_before(floor, position)) {
            self.floor = Some(position);
        }
    }

    /// Drops what is not after `position`.
    fn drop_until(&mut self, position: Position) {
        while let Some(old) = self.items.front() {
            let (mark, weight) = (&old.event.mark, old.weight());
            if mark.epoch == position.epoch && mark.offset > position.offset {
                break;
            }
            self.items.pop_front();
            self.shrink(weight);
        }
    }

    fn clear(&mut self) {
        self.shrink(self.bytes);
        self.items = VecDeque::new();
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for RecentEvents {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether `floor` is of another epoch or lies before `position`.
fn is_before(floor: Position, position: Position) -> bool {
    floor.epoch != position.epoch || floor.offset < position.offset
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::{Data, Epoch, Event, Mark, Topic};

    use super::*;

    const EPOCH: Epoch = Epoch::NONE;

    fn at(offset: u64) -> Position {
        Position { epoch: EPOCH, offset }
    }

    fn recent() -> RecentEvents {
        RecentEvents::new(Arc::default())
    }

    fn item(offset: u64, prev: u64) -> Item {
        let topic = Topic::parse("topic:a").expect("valid");
        let mark = Mark { partition: topic.partition(1), epoch: EPOCH, offset, prev: Some(prev) };
        let data = Data::Text("x".into());
        Item::new(Arc::new(Event { topic, name: None, data, at: 0, mark }))
    }

    fn push(recent: &mut RecentEvents, items: &[Item], options: &Options) {
        items.iter().for_each(|item| recent.push(item.clone(), options));
    }

    fn after(recent: &RecentEvents, offset: u64) -> Option<Vec<u64>> {
        let items = recent.after(at(offset))?;
        Some(items.iter().map(|item| item.event.mark.offset).collect())
    }

    #[test]
    fn recent_events_answer_only_for_what_they_have_without_a_hole() {
        let (mut recent, options) = (recent(), Options::default());
        recent.confirmed(at(10));
        // Left over from an earlier subscription, and the first one of this: 8 and 9 are missing
        // between.
        for (offset, prev) in [(7, 5), (12, 9)] {
            push(&mut recent, &[item(offset, prev)], &options);
        }
        assert_eq!(after(&recent, 7), None);
        assert_eq!(after(&recent, 9), Some(vec![12]));
        assert_eq!(after(&recent, 12), Some(vec![]));
        // 15 was lost for good: a client before it must learn that from the store.
        push(&mut recent, &[item(20, 15)], &options);
        assert_eq!(after(&recent, 12), None);
        assert_eq!(after(&recent, 15), Some(vec![20]));
    }

    #[test]
    fn what_was_left_over_before_the_subscription_was_confirmed_is_not_trusted() {
        let (mut recent, options) = (recent(), Options::default());
        // 8 was stored while the node was not subscribed, 12 after the confirmation, which is told
        // here a moment later.
        for (offset, prev) in [(6, 5), (7, 6)] {
            push(&mut recent, &[item(offset, prev)], &options);
        }
        recent.confirmed(at(10));
        assert_eq!((after(&recent, 6), after(&recent, 9)), (None, None));
        assert_eq!(after(&recent, 10), Some(vec![]));
        recent.confirmed(at(6));
        assert_eq!(after(&recent, 6), None);

        let mut recent = self::recent();
        for (offset, prev) in [(7, 6), (12, 8), (13, 12)] {
            push(&mut recent, &[item(offset, prev)], &options);
        }
        recent.confirmed(at(10));
        assert_eq!(after(&recent, 7), None);
        assert_eq!(after(&recent, 10), Some(vec![12, 13]));
    }

    #[test]
    fn what_was_dropped_before_the_confirmation_was_told_is_not_claimed() {
        let (mut recent, options) = (recent(), Options { ring_events: 1, ..Options::default() });
        // Both came after the place that was confirmed, and before the hub heard of the
        // confirmation.
        push(&mut recent, &[item(11, 9), item(12, 11)], &options);
        recent.confirmed(at(10));
        assert_eq!(after(&recent, 10), None, "11 is not here any more");
        assert_eq!(after(&recent, 11), Some(vec![12]));
    }

    #[test]
    fn what_is_still_to_come_is_not_filled_in() {
        let (mut recent, options) = (recent(), Options { ring_events: 4, ..Options::default() });
        recent.confirmed(at(10));
        let read: Vec<Item> = [(8, 0), (9, 8), (11, 9), (12, 11)].map(|(n, prev)| item(n, prev)).into();
        recent.backfill(at(5), at(12), &read, &options);
        assert_eq!(after(&recent, 5), Some(vec![8, 9]));
        push(&mut recent, &read[2..], &options);
        assert_eq!(after(&recent, 5), Some(vec![8, 9, 11, 12]));
        push(&mut recent, &[item(13, 12)], &options);
        assert_eq!((after(&recent, 5), after(&recent, 8)), (None, Some(vec![9, 11, 12, 13])));
    }

    #[test]
    fn what_was_deleted_does_not_come_back_with_a_read_from_before() {
        let (mut recent, options) = (recent(), Options::default());
        recent.confirmed(at(5));
        let read: Vec<Item> = [(8, 5), (9, 8)].map(|(n, prev)| item(n, prev)).into();
        push(&mut recent, &read, &options);
        recent.forget(at(9));
        recent.backfill(at(5), at(9), &read, &options);
        assert_eq!((after(&recent, 5), after(&recent, 9)), (None, Some(vec![])));
        push(&mut recent, &[item(10, 9)], &options);
        assert_eq!((after(&recent, 8), after(&recent, 9)), (None, Some(vec![10])));
        recent.distrust(at(10));
        recent.distrust(at(8));
        assert_eq!((after(&recent, 9), after(&recent, 10)), (None, Some(vec![])));
    }
}
