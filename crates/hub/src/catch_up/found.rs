//! What a join has found: how much of it can go out, and where its stream ends for now.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_broker::{Page, ResetReason, Span};
use tidegate_protocol::{Offset, Partition, Position};

use crate::item::Item;
use crate::options::Options;
use crate::subscriber::TopicState;

/// What was read of one topic.
#[derive(Clone)]
pub(crate) struct History {
    /// In order.
    pub(super) items: Vec<Item>,
    /// Why the position could not be continued.
    pub(super) reset: Option<ResetReason>,
    /// Everything of the topic up to here is in `items`, or came before them.
    pub(super) head: Position,
    /// There is more after `head`, or may be.
    pub(super) more: bool,
}

/// What was read of some topics.
pub(super) type Found = Vec<(Arc<TopicState>, History)>;

impl History {
    pub(super) fn new(page: Page, span: Span) -> Self {
        Self {
            items: page.events.into_iter().map(Item::new).collect(),
            reset: page.reset,
            head: page.head,
            // What is older than the last few is not asked for.
            more: page.more && matches!(span, Span::After { .. }),
        }
    }

    /// Takes what was read after its head. False: it can't go on, for events were trimmed between
    /// two pages. Its client has to come back, and its next join finds the gap.
    pub(super) fn extend(&mut self, page: Self) -> bool {
        if page.reset.is_some() {
            if !self.items.is_empty() {
                return false;
            }
            self.reset = self.reset.or(page.reset);
        }
        self.items.extend(page.items);
        (self.head, self.more) = (page.head, page.more);
        true
    }
}

/// What recent events answer, and what they don't.
pub(super) fn recent(
    wanted: &[(Arc<TopicState>, Span)],
    known: impl Fn(&TopicState, Position) -> bool,
) -> (Found, Vec<(Arc<TopicState>, Span)>) {
    let (mut found, mut missing) = (Vec::with_capacity(wanted.len()), Vec::new());
    for (topic, span) in wanted {
        let recent = match *span {
            Span::After { position, .. } if known(topic, position) => {
                topic.after(position).map(|items| History { items, reset: None, head: position, more: false })
            }
            _ => None,
        };
        match recent {
            Some(history) => found.push((Arc::clone(topic), history)),
            None => missing.push((Arc::clone(topic), *span)),
        }
    }
    (found, missing)
}

/// Where the streams of partitions end for now: at the first place after which there is more of a
/// topic.
pub(super) fn horizons(found: &Found) -> BTreeMap<Partition, Offset> {
    let mut horizons = BTreeMap::new();
    for (topic, history) in found.iter().filter(|(_, history)| history.more) {
        let horizon = horizons.entry(topic.partition).or_insert(Offset::MAX);
        *horizon = history.head.offset.min(*horizon);
    }
    horizons
}

/// How many events can go out, and how many bytes: not those after a horizon.
pub(super) fn ready(found: &Found) -> (u32, usize) {
    let horizons = horizons(found);
    let (mut events, mut bytes) = (0, 0);
    for (topic, history) in found {
        let horizon = horizons.get(&topic.partition).copied().unwrap_or(Offset::MAX);
        for item in history.items.iter().take_while(|item| item.event.mark.offset <= horizon) {
            (events, bytes) = (events + 1, bytes + item.event.data.as_bytes().len());
        }
    }
    (events, bytes)
}

/// Leaves out the newest of topics' last events until the others are within the limits of a
/// replay. The client comes back for those. Each partition keeps its first one, so that the
/// stream begins there.
pub(super) fn cut(found: &mut Found, options: &Options) {
    let mut items: BTreeMap<Partition, Vec<(Offset, usize)>> = BTreeMap::new();
    for (topic, history) in found.iter() {
        let sizes =
            history.items.iter().map(|item| (item.event.mark.offset, item.event.data.as_bytes().len()));
        items.entry(topic.partition).or_default().extend(sizes);
    }
    let share = options.replay_bytes / items.len().max(1);
    for (partition, mut items) in items {
        items.sort_unstable();
        let mut sum = 0;
        let fits = items.iter().take_while(|(_, size)| {
            sum += size;
            sum <= share
        });
        let fits = fits.count().clamp(1, (options.replay_events as usize).max(1));
        let Some((end, _)) = items.get(fits - 1).filter(|_| fits < items.len()) else { continue };
        for (_, history) in found.iter_mut().filter(|(topic, _)| topic.partition == partition) {
            history.items.retain(|item| item.event.mark.offset <= *end);
            (history.head.offset, history.more) = (*end, true);
        }
    }
}
