//! What a node is told.

use std::sync::Arc;

use tidegate_broker::{Control, Delivery, ResetReason};
use tidegate_protocol::{Envelope, Event, Mark, Message, Partition, Position, Topic};

/// Some of a partition's topics have lost events for good.
pub(super) fn reset(
    partition: Partition,
    topics: Vec<Topic>,
    reason: ResetReason,
    position: Position,
) -> Delivery {
    Delivery::Reset { partition, topics: Some(topics), reason, position }
}

/// A message as what the node is told, at `position`.
pub(super) fn delivery(
    topic: &Topic,
    partition: Partition,
    envelope: &Envelope,
    position: Position,
) -> Delivery {
    let control = match &envelope.message {
        Message::Event { name, data, at } => {
            let mark =
                Mark { partition, epoch: position.epoch, offset: position.offset, prev: envelope.prev };
            let (name, data) = (name.clone(), data.clone());
            return Delivery::Event(Arc::new(Event { topic: topic.clone(), name, data, at: *at, mark }));
        }
        Message::Probe { .. } => return Delivery::Seen(partition, position),
        // No position given: the topic is in the partition of the user, and the script's own place is the place.
        Message::Joined { topic, from } => {
            let from = from.iter().next().map_or(envelope.position, |(_, position)| position);
            Control::Joined { topic: topic.clone(), from: Some(from) }
        }
        Message::Left { topic } => Control::Left { topic: topic.clone() },
        Message::Disconnect => Control::Disconnect,
        Message::Forgotten => {
            return Delivery::Forgotten { topic: topic.clone(), seen: (partition, position) };
        }
    };
    Delivery::Control { user: topic.clone(), seen: (partition, position), control }
}
