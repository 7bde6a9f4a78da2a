//! What Redis says, read as the broker reads it: pages of history, receipts, places.

use std::io::Cursor as Bytes;

use tidegate_broker::{Read, Span};
use tidegate_broker_redis::fuzzing;
use tidegate_protocol::{Epoch, Partition, Position, Topic};

pub fn run(input: &[u8]) {
    let Ok(answer) = redis::parse_redis_value(Bytes::new(input).into_inner()) else { return };
    let partition = Partition::new(0).unwrap();
    let topic = Topic::parse("room:1").unwrap();
    let position = Position { epoch: Epoch::parse(b"k3x9a").unwrap(), offset: 4_700 };
    let _ = fuzzing::position(&answer);
    let _ = fuzzing::receipt(&answer, partition);
    for span in
        [Span::After { position, limit: 10 }, Span::Last { limit: 10 }, Span::Before { offset: 5, limit: 10 }]
    {
        let read = Read { topic: topic.clone(), span };
        if let Ok(page) = fuzzing::page(&read, partition, answer.clone()) {
            assert!(
                page.events.iter().all(|event| event.topic == topic && event.mark.partition == partition)
            );
        }
    }
}
