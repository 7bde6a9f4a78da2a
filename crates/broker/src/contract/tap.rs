use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tidegate_protocol::{Event, Partition, Position, Topic};

use super::cluster::within;
use crate::{Control, Deliveries, Delivery};

/// A node's deliveries. Whatever a test is about, it checks the order of places on the way.
pub(super) struct Tap {
    deliveries: Deliveries,
    batch: VecDeque<Delivery>,
    partitions: u8,
    places: HashMap<Partition, Position>,
}

/// What tests wait for.
#[derive(Debug)]
pub(super) enum Word {
    Event(Arc<Event>),
    Control { user: Topic, seen: (Partition, Position), control: Control },
    Forgotten { topic: Topic, seen: (Partition, Position) },
}

impl Tap {
    pub(super) fn new(deliveries: Deliveries, partitions: u8) -> Self {
        Self { deliveries, batch: VecDeque::new(), partitions, places: HashMap::new() }
    }

    /// The next event; anything about users is a failure.
    pub(super) async fn event(&mut self) -> Arc<Event> {
        match self.word().await {
            Word::Event(event) => event,
            Word::Control { user, control, .. } => panic!("an event was awaited, {user} has {control:?}"),
            Word::Forgotten { topic, .. } => panic!("an event was awaited, {topic} is forgotten"),
        }
    }

    /// The next event, control or deletion. A gap is no harm to a test that missed nothing; a reset is always one.
    pub(super) async fn word(&mut self) -> Word {
        loop {
            match self.next().await {
                Delivery::Event(event) => {
                    let mark = event.mark;
                    assert_eq!(mark.partition, event.topic.partition(self.partitions), "{}", event.topic);
                    self.place(mark.partition, mark.position(), mark.stored());
                    return Word::Event(event);
                }
                Delivery::Control { user, seen, control } => {
                    assert_eq!(seen.0, user.partition(self.partitions), "{user}");
                    self.place(seen.0, seen.1, false);
                    return Word::Control { user, seen, control };
                }
                Delivery::Forgotten { topic, seen } => {
                    assert_eq!(seen.0, topic.partition(self.partitions), "{topic}");
                    self.place(seen.0, seen.1, false);
                    return Word::Forgotten { topic, seen };
                }
                Delivery::Seen(partition, position) => self.place(partition, position, false),
                Delivery::Gap(_) | Delivery::Continued(..) => {}
                reset @ Delivery::Reset { .. } => panic!("nothing was lost, and yet {reset:?}"),
            }
        }
    }

    async fn next(&mut self) -> Delivery {
        loop {
            if let Some(delivery) = self.batch.pop_front() {
                return delivery;
            }
            let more = within("a delivery", self.deliveries.next(&mut self.batch)).await;
            assert!(more, "the deliveries have ended");
        }
    }

    /// A stored event is after every place told before; all else is not before one.
    fn place(&mut self, partition: Partition, position: Position, after: bool) {
        if let Some(last) = self.places.insert(partition, position) {
            assert_eq!(last.epoch, position.epoch, "an epoch has changed without a word");
            assert!(
                position.offset > last.offset || (!after && position.offset == last.offset),
                "{position:?} after {last:?}"
            );
        }
    }
}
