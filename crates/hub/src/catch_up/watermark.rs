//! How far everything that a stream is about to go live with reaches.
//!
//! Topics are read one by one, from recent events and from the store, while events keep coming.
//! What was read of one topic may so be ahead of what is known of another: were it sent, the
//! stream's cursor would pass events that are still on their way here, and they would be taken for
//! repeats when they come. So of each partition only what lies up to its watermark is sent. The
//! dispatch brings the rest, or the client's next join does: where a topic has more than was read,
//! the stream ends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_protocol::{Cursor, Offset, Partition, Position, Topic};

use super::found::{Found, History};
use crate::dispatch::Seen;
use crate::item::Item;
use crate::subscriber::TopicState;

/// The topics of which more must be read, each from where: without it, the watermark lies before
/// the position at which the subscription was confirmed, and what is between may never be
/// dispatched.
pub(super) type Behind = Vec<(Arc<TopicState>, Position)>;

/// What the watermark of a stream is found from.
///
/// Looked at under the subscriber's lock: whatever was dispatched up to `seen` is in `held`, or was
/// when it was read, or was sent. Of a topic with nothing `found`, all up to `cursor` was sent.
pub(super) struct Reach<'a> {
    pub(super) seen: &'a Seen,
    /// Where the stream's topics were confirmed.
    pub(super) base: &'a Cursor,
    /// Where the stream stands.
    pub(super) cursor: &'a Cursor,
    pub(super) topics: &'a [Arc<TopicState>],
    pub(super) found: &'a Found,
    pub(super) held: &'a [Item],
    /// Where topics have more than was read.
    pub(super) horizons: &'a BTreeMap<Partition, Offset>,
}

impl Reach<'_> {
    /// The watermark of each partition.
    pub(super) fn watermark(&self) -> Result<Cursor, Behind> {
        let pages = self.found.iter().map(|(topic, page)| (&topic.topic, page)).collect();
        let (mut watermark, mut behind) = (Cursor::default(), Vec::new());
        for (partition, base) in self.base.iter() {
            watermark.set(partition, self.of_partition(partition, base, &pages, &mut behind));
        }
        if behind.is_empty() { Ok(watermark) } else { Err(behind) }
    }

    /// The lowest position that all of the stream's topics in a partition have reached. Those that
    /// must be read on are added to `behind`.
    fn of_partition(
        &self,
        partition: Partition,
        base: Position,
        pages: &HashMap<&Topic, &History>,
        behind: &mut Behind,
    ) -> Position {
        let at = |offset| Position { offset, ..base };
        let same = |position: Position| if position.epoch == base.epoch { position.offset } else { 0 };
        let held = self.held.iter().filter(|item| item.event.mark.partition == partition);
        let dispatched = held.map(|item| same(item.event.mark.position())).max().unwrap_or_default();
        let dispatched = dispatched.max(self.seen.get(partition).map_or(0, same));
        let sent = self.cursor.get(partition);
        let reach = |topic: &TopicState| match pages.get(&topic.topic) {
            // What was dispatched does not follow what was read.
            Some(page) if page.more => same(page.head),
            page => page.map(|page| page.head).or(sent).map_or(0, same).max(dispatched),
        };
        let ours = || self.topics.iter().filter(|topic| topic.partition == partition);
        let lowest = ours().map(|topic| reach(topic)).min().unwrap_or(dispatched);
        // Where a topic has more the stream ends: nothing is needed beyond.
        let end = self.horizons.get(&partition).map_or(base.offset, |horizon| base.offset.min(*horizon));
        let needed = lowest < end && self.found_between(partition, at(lowest), at(end));
        // A topic that is new to a stream: what lies before the stream's position is taken for a
        // repeat when it is dispatched.
        let sent = sent.map_or(0, same);
        let is_new = |topic: &TopicState| pages.contains_key(&topic.topic);
        let is_behind =
            |topic: &TopicState| (needed && reach(topic) < end) || (is_new(topic) && reach(topic) < sent);
        let ours_behind = ours().filter(|topic| is_behind(topic));
        behind.extend(ours_behind.map(|topic| (Arc::clone(topic), at(reach(topic)))));
        at(lowest)
    }

    /// Whether something was found after `from` and up to `to`.
    fn found_between(&self, partition: Partition, from: Position, to: Position) -> bool {
        let ours = self.found.iter().filter(|(topic, _)| topic.partition == partition);
        ours.flat_map(|(_, page)| &page.items).any(|item| {
            let mark = &item.event.mark;
            mark.epoch == from.epoch && mark.offset > from.offset && mark.offset <= to.offset
        })
    }
}

/// Leaves what may be sent now.
pub(super) fn cut(items: &mut Vec<Item>, watermark: &Cursor) {
    items.retain(|item| {
        let mark = &item.event.mark;
        let within = |top: Position| top.epoch == mark.epoch && mark.offset <= top.offset;
        !mark.stored() || watermark.get(mark.partition).is_some_and(within)
    });
}
