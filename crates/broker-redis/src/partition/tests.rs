use std::collections::VecDeque;
use std::sync::Arc;

use redis::Value;
use tidegate_broker::{Deliveries, Delivery, queue};
use tidegate_protocol::{Epoch, Partition, Position, Topic};

use super::sequencer::{Mode, Sequencer};
use crate::place::Place;

fn wanted(number: usize) -> (Arc<str>, Topic) {
    let topic = Topic::parse(&format!("room:{number}")).expect("valid");
    (format!("tg:{{0}}:c:{topic}").into(), topic)
}

fn sequencer() -> (Sequencer, Deliveries) {
    let (feed, deliveries) = queue(1 << 20);
    let partition = Partition::new(0).expect("one of eight");
    (Sequencer::new(feed, partition, Arc::default(), 1 << 20), deliveries)
}

/// Streams come and go for as long as Redis is away: what they wanted must not pile up.
#[test]
fn nothing_piles_up_while_redis_is_away() {
    let (mut sequencer, _deliveries) = sequencer();
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

/// A topic that was let go and is wanted again has missed what came in between: heads from before
/// say nothing about it.
#[test]
fn a_topic_wanted_again_is_not_confirmed_by_older_heads() {
    let (mut sequencer, _deliveries) = sequencer();
    let head = |offset| Position { epoch: Epoch::NONE, offset };
    let mut first = sequencer.subscribe(vec![wanted(0)]).expect_err("it waits");
    sequencer.connected(1);
    let subscribed = sequencer.take_pending();

    // The heads are on their way. An event at 43 comes while the topic is let go.
    sequencer.unsubscribe(std::iter::once(wanted(0).0));
    let mut second = sequencer.subscribe(vec![wanted(0)]).expect_err("it waits");
    sequencer.seen = Some(head(42));
    sequencer.confirm(&subscribed, head(42));
    sequencer.mode = Mode::Live;
    sequencer.answer(head(42));
    assert!(second.try_recv().is_err(), "heads of before do not confirm it");
    assert!(sequencer.subscribe(vec![wanted(0)]).is_err());

    let subscribed = sequencer.take_pending();
    assert_eq!(subscribed, [wanted(0).0], "it is subscribed once more, and only once");
    sequencer.confirm(&subscribed, head(43));
    sequencer.answer(head(43));
    assert_eq!(second.try_recv().expect("confirmed"), head(43));
    drop(first.try_recv());
}

/// A gateway of the version before drops what a topic has kept of earlier epochs. A node that still
/// reads that must not take the rest for all.
#[tokio::test]
async fn what_an_older_gateway_may_have_dropped_is_told_once() {
    let (mut sequencer, mut deliveries) = sequencer();
    let at = |epoch: &str, offset| Position { epoch: Epoch::parse(epoch.as_bytes()).expect("valid"), offset };
    let place = |counter: i64, old: &str| {
        let text = |text: &str| Value::BulkString(text.into());
        let (begin, line) = (Value::Int(5), text("11111:reign:5:-1:clean"));
        let head = [text("22222"), Value::Int(counter)];
        let rest = [begin, text("life"), line, text(old), text("")];
        Place::parse(&Value::Array(head.into_iter().chain(rest).collect())).expect("a place")
    };
    sequencer.seen = Some(at("11111", 3));
    sequencer.entered(&place(5, ""));
    assert_eq!(sequencer.seen, Some(at("22222", 3)), "nothing was lost");
    sequencer.entered(&place(5, ""));
    sequencer.entered(&place(6, "1"));
    assert_eq!(sequencer.seen, Some(at("22222", 5)));
    sequencer.entered(&place(6, "1"));
    sequencer.close();
    let mut told = VecDeque::new();
    assert!(deliveries.next(&mut told).await);
    let told: Vec<_> = told.into_iter().collect();
    let [Delivery::Continued(..), Delivery::Reset { topics: None, position, .. }] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(*position, at("22222", 5));
}
