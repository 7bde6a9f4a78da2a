use std::collections::HashMap;
use std::sync::Arc;

use tidegate_broker::ResetReason;
use tidegate_protocol::{Partition, Position, Topic};

use super::Dispatch;
use crate::control_events;
use crate::subscriber::Subscriber;

impl<A> Dispatch<A> {
    /// Another epoch has begun, and nothing was lost: the streams' positions are positions of that
    /// one now. What topics keep has the names of before.
    pub(super) fn continued(&self, partition: Partition, position: Position) {
        for state in self.subscribers.topics().of(partition) {
            state.reset(position);
            state.subscribers().iter().for_each(|subscriber| subscriber.move_to(partition, position));
        }
    }

    /// Resets every stream of the topics, of which events were lost for good. `None`: all topics of
    /// the partition.
    pub(super) fn lost(
        &self,
        partition: Partition,
        topics: Option<&[Topic]>,
        reason: ResetReason,
        position: Position,
    ) {
        let known = self.subscribers.topics();
        let states: Vec<_> = match topics {
            Some(topics) => topics.iter().filter_map(|topic| known.get(topic)).collect(),
            None => known.of(partition),
        };
        let mut affected: HashMap<u64, (Arc<Subscriber>, Vec<Topic>)> = HashMap::new();
        for state in states {
            state.reset(position);
            for subscriber in state.subscribers() {
                let entry = affected.entry(subscriber.id).or_insert_with(|| (subscriber, Vec::new()));
                entry.1.push(state.topic.clone());
            }
        }
        let now = self.subscribers.clock().now();
        for (subscriber, topics) in affected.into_values() {
            let sent = subscriber.lose(now, |format, cursor| {
                // Within an epoch the cursor stays: events of other topics up to `position` may
                // still be on their way.
                if cursor.get(partition).is_none_or(|at| at.epoch != position.epoch) {
                    cursor.set(partition, position);
                }
                control_events::reset(format, cursor, &topics, reason)
            });
            if sent {
                self.subscribers.metrics().resets.with_label_values(&[reason.as_str()]).inc();
            }
        }
    }
}
