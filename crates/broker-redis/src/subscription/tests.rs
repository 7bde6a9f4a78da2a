use std::sync::Arc;

use tidegate_broker::queue;
use tidegate_protocol::{Partition, Topic};

use super::sequencer::Sequencer;

fn wanted(number: usize) -> (Arc<str>, Topic, Partition) {
    let topic = Topic::parse(&format!("room:{number}")).expect("valid");
    let (channel, partition) = (format!("tg:{{0}}:c:{topic}").into(), topic.partition(1));
    (channel, topic, partition)
}

/// Streams come and go for as long as Redis is away: what they wanted must not pile up.
#[test]
fn nothing_piles_up_while_redis_is_away() {
    let (feed, _deliveries) = queue(1 << 20);
    let mut sequencer = Sequencer::new(feed, 1, 1 << 20);
    let come_and_go = |sequencer: &mut Sequencer, numbers: std::ops::Range<usize>| {
        for number in numbers {
            let answer = sequencer.subscribe(vec![wanted(number)]);
            assert!(answer.is_err(), "it waits");
            sequencer.unsubscribe(std::iter::once(wanted(number).0));
        }
        (sequencer.changes.pending.len(), sequencer.changes.leaving.len())
    };
    assert_eq!(come_and_go(&mut sequencer, 0..1000), (0, 0), "before the first connection");

    let _stays = sequencer.subscribe(vec![wanted(0)]);
    sequencer.connected(1);
    assert_eq!(sequencer.take_pending(), [wanted(0).0], "a connection begins with all that is wanted");
    assert_eq!(come_and_go(&mut sequencer, 1..11), (10, 10));
    sequencer.away();
    assert_eq!(come_and_go(&mut sequencer, 11..1000), (0, 0), "between two connections");

    sequencer.connected(2);
    assert_eq!(sequencer.take_pending(), [wanted(0).0]);
    assert!(sequencer.take_leaving().is_empty());
}
