use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_broker::{ResetReason, Span};
use tidegate_protocol::{Cursor, Epoch, Partition, Position, Topic};

use crate::item::Item;
use crate::join::Resume;
use crate::subscriber::TopicState;

/// Where each partition of a stream begins, and which resets its client must get.
#[derive(Clone)]
pub(super) struct ResumePlan {
    /// As the client gave it; empty: it gave none, or nothing that can be read.
    given: Cursor,
    /// Where the subscription was confirmed.
    base: Cursor,
    malformed: bool,
    /// How many of the last events the client wants; 0: it did not ask for that.
    limit: u32,
    pub(super) resets: BTreeMap<ResetReason, Vec<Topic>>,
    /// Partitions in which the given position is worth nothing.
    void: Vec<Partition>,
}

impl ResumePlan {
    pub(super) fn new(resume: &Resume, topics: &[Arc<TopicState>], base: &Cursor) -> Self {
        let (given, malformed, limit) = match resume {
            Resume::Live => (Cursor::default(), false, 0),
            Resume::Last(limit) => (Cursor::default(), false, *limit),
            Resume::After(text) => match Cursor::parse(text) {
                Ok(cursor) => (cursor, false, 0),
                Err(_) => (Cursor::default(), true, 0),
            },
        };
        let mut resets = BTreeMap::new();
        if malformed && !topics.is_empty() {
            let topics = topics.iter().map(|topic| topic.topic.clone()).collect();
            resets.insert(ResetReason::Malformed, topics);
        }
        Self { given, base: base.clone(), malformed, limit, resets, void: Vec::new() }
    }

    /// Whether it begins with the last events, and not behind a position.
    pub(super) fn backwards(&self) -> bool {
        self.limit > 0
    }

    pub(super) fn reads(&self, topics: &[Arc<TopicState>], limit: u32) -> Vec<(Arc<TopicState>, Span)> {
        let read = |topic: &Arc<TopicState>| {
            let span = if self.backwards() {
                Span::Last { limit: self.limit.min(limit) }
            } else {
                Span::After { position: self.given.get(topic.partition)?, limit }
            };
            Some((Arc::clone(topic), span))
        };
        topics.iter().filter_map(read).collect()
    }

    /// What the store says of the client's position in a topic, where the partition stands at `head`.
    pub(super) fn judged(&mut self, topic: &TopicState, reset: Option<ResetReason>, head: Position) {
        if let Some(reason) = reset {
            self.resets.entry(reason).or_default().push(topic.topic.clone());
        }
        if reset.is_some_and(ResetReason::is_void) {
            self.void.push(topic.partition);
            let known = self.base.get(topic.partition);
            if known.is_none_or(|known| known.epoch != head.epoch || known.offset < head.offset) {
                self.base.set(topic.partition, head);
            }
        } else if let Some(given) = self.given.get(topic.partition) {
            // It goes on, perhaps in a later epoch.
            self.given.set(topic.partition, Position { epoch: head.epoch, ..given });
        }
    }

    /// Whether the client came from behind an event without history: it had it where it was, or it
    /// was away. The node may be late.
    pub(super) fn is_past(&self, item: &Item) -> bool {
        let mark = &item.event.mark;
        let given = self.given.get(mark.partition).filter(|_| !self.void.contains(&mark.partition));
        !mark.stored() && given.is_some_and(|given| given.epoch == mark.epoch && mark.offset <= given.offset)
    }

    /// The position from which the events queued follow.
    pub(super) fn start(&self, items: &[Item]) -> Cursor {
        let mut start = Cursor::default();
        for (partition, base) in self.base.iter() {
            let given = self.given.get(partition).filter(|_| !self.void.contains(&partition));
            let first =
                items.iter().find(|item| item.event.mark.partition == partition && item.event.mark.stored());
            let position = match (given, first) {
                (Some(given), _) => given,
                (None, Some(first)) if self.backwards() && first.event.mark.offset <= base.offset => {
                    Position { epoch: base.epoch, offset: first.event.mark.offset - 1 }
                }
                (None, _) => base,
            };
            start.set(partition, position);
        }
        start
    }

    /// The id of the ready block. A client that loses its connection between this block and the
    /// reset gets the reset again: where the given position is void, it is given back, or a
    /// position that no counter has.
    pub(super) fn ready(&self, start: &Cursor) -> Cursor {
        let mut ready = start.clone();
        for partition in &self.void {
            if let Some(given) = self.given.get(*partition) {
                ready.set(*partition, given);
            }
        }
        if self.malformed {
            for (partition, _) in start.iter() {
                ready.set(partition, Position { epoch: Epoch::NONE, offset: 0 });
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::{Data, Event, Mark};

    use super::*;

    fn item(offset: u64, prev: Option<u64>) -> Item {
        let topic = Topic::parse("topic:a").expect("valid");
        let mark = Mark { partition: topic.partition(1), epoch: Epoch::NONE, offset, prev };
        Item::new(Arc::new(Event { topic, name: None, data: Data::Text("x".into()), at: 0, mark }))
    }

    /// A node that is late hears what a client had on another node before it came here.
    #[test]
    fn an_event_without_history_is_not_given_to_a_client_that_is_past_it() {
        let place = item(10, None).event.mark.position();
        let given = Cursor::single(item(10, None).event.mark.partition, place);
        let plan = ResumePlan::new(&Resume::After(given.to_string()), &[], &given);
        assert!(plan.is_past(&item(9, None)) && plan.is_past(&item(10, None)));
        assert!(!plan.is_past(&item(11, None)), "it came later");
        assert!(!plan.is_past(&item(9, Some(8))), "a stored one has a position of its own");
        let live = ResumePlan::new(&Resume::Live, &[], &given);
        assert!(!live.is_past(&item(9, None)), "it has been nowhere before");
    }
}
