//! How far all that a stream is about to begin with reaches.
//!
//! Topics are read one by one, from rings and from the store, while events keep coming. What was read of one topic may so be ahead of what is
//! known of another: were it sent, the stream's cursor would pass events that are still on their way here, and they would be taken for
//! repeats when they come. So of each partition only what lies up to its level is sent. The dispatch brings the rest.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_protocol::{Cursor, Partition, Position, Topic};

use crate::catch_up::Found;
use crate::dispatch::Seen;
use crate::item::Item;
use crate::topics::Channel;

/// The channels of which more must be read, each from where: without it, the level lies before the place at which the subscription was
/// confirmed, and what is between may never be dispatched.
pub(crate) type Short = Vec<(Arc<Channel>, Position)>;

/// Finds the level of each partition of `base`, the place at which the emitter's `channels` were confirmed.
///
/// Called under the emitter's lock: whatever was dispatched up to `seen` is in `held`, or was when it was read, or was sent. Of a channel
/// with nothing `found`, all up to `place` was sent.
pub(crate) fn find(
    seen: &Seen,
    base: &Cursor,
    place: &Cursor,
    channels: &[Arc<Channel>],
    found: &[(Arc<Channel>, Found)],
    held: &[Item],
) -> Result<Cursor, Short> {
    let mut level = Cursor::default();
    let mut short = Vec::new();
    let pages: HashMap<&Topic, &Found> = found.iter().map(|(channel, page)| (&channel.topic, page)).collect();
    for (partition, base) in base.iter() {
        let same = |at: Position| if at.epoch == base.epoch { at.offset } else { 0 };
        let held = held.iter().filter(|item| item.event.mark.partition == partition);
        let handed = held.map(|item| same(item.event.mark.position())).max().unwrap_or_default();
        let handed = handed.max(seen.get(partition).map_or(0, same));
        let ours = || channels.iter().filter(|channel| channel.partition == partition);
        let reach = |channel: &Channel| {
            let known = pages.get(&channel.topic).map(|page| page.head).or_else(|| place.get(partition));
            known.map_or(0, same).max(handed)
        };
        let lowest = ours().map(|channel| reach(channel)).min().unwrap_or(handed);
        let needed =
            lowest < base.offset && between(found, partition, Position { offset: lowest, ..base }, base);
        // A topic that is new to a stream: what lies before the stream's place is taken for a repeat when it is dispatched.
        let sent = place.get(partition).map_or(0, same);
        let new = |channel: &Channel| pages.contains_key(&channel.topic);
        let behind = ours().filter(|channel| {
            (needed && reach(channel) < base.offset) || (new(channel) && reach(channel) < sent)
        });
        short
            .extend(behind.map(|channel| (Arc::clone(channel), Position { offset: reach(channel), ..base })));
        level.set(partition, Position { offset: lowest, ..base });
    }
    if short.is_empty() { Ok(level) } else { Err(short) }
}

/// Leaves what may be sent now.
pub(crate) fn cut(items: &mut Vec<Item>, level: &Cursor) {
    items.retain(|item| {
        let mark = &item.event.mark;
        let within = |top: Position| top.epoch == mark.epoch && mark.offset <= top.offset;
        !mark.stored() || level.get(mark.partition).is_some_and(within)
    });
}

fn between(found: &[(Arc<Channel>, Found)], partition: Partition, from: Position, to: Position) -> bool {
    let mut items = found.iter().filter(|(c, _)| c.partition == partition).flat_map(|(_, page)| &page.items);
    items.any(|item| {
        let mark = &item.event.mark;
        mark.epoch == from.epoch && mark.offset > from.offset && mark.offset <= to.offset
    })
}
