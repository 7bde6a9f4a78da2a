//! What is stored can be read again, from any place.

use tidegate_protocol::Offset;

use super::Fixture;
use super::cluster::{Cluster, said, sibling, text, topic, within};
use crate::{Read, Span};

/// The cursor that a subscription gives: nothing published before is after it, all published later is.
pub async fn a_subscription_is_a_place_to_resume_from(fixture: &impl Fixture) {
    let topics = [topic("resume")];
    let mut cluster = Cluster::start(fixture).await;
    for n in 0..5 {
        cluster.publish(n, text(&topics[0], "old")).await;
    }
    let cursor = cluster.subscribe(0, &topics).await;
    for said in ["a", "b", "c"] {
        cluster.publish(1, text(&topics[0], said)).await;
    }
    let (partition, position) = cursor.iter().next().unwrap();
    assert_eq!(partition, topics[0].partition(cluster.broker(0).partitions()));
    for node in 0..cluster.len() {
        let page = cluster.after(node, &topics[0], position).await;
        assert_eq!((said(&page.events), page.reset, page.more), (vec!["a", "b", "c"], None, false));
    }
    assert_eq!(said(&cluster.settle_node(0, &topics).await), ["a", "b", "c"]);
}

/// The same where nothing was ever published: the counter has its epoch before its first event.
pub async fn an_empty_store_is_a_place_to_resume_from(fixture: &impl Fixture) {
    let topics = [topic("first")];
    let cluster = Cluster::start(fixture).await;
    let (_, position) = cluster.subscribe(0, &topics).await.iter().next().unwrap();
    let page = cluster.after(1, &topics[0], position).await;
    assert_eq!((page.events.len(), page.reset, page.head), (0, None, position));
    let first = cluster.store(1, text(&topics[0], "a")).await;
    assert_eq!(first.epoch, position.epoch);
    let page = cluster.after(0, &topics[0], position).await;
    assert_eq!((said(&page.events), page.reset), (vec!["a"], None));
}

/// After, last and before; whether there is more is told in the direction of reading.
pub async fn spans_and_limits(fixture: &impl Fixture) {
    let topic = topic("spans");
    let cluster = Cluster::start(fixture).await;
    let mut places = Vec::new();
    for n in 0..10 {
        places.push(cluster.store(n, text(&topic, &n.to_string())).await);
    }
    let after = |n: usize, limit| Span::After { position: places[n], limit };
    let last = |limit| Span::Last { limit };
    let before = |n: usize, limit| Span::Before { offset: places[n].offset, limit };
    let end = |limit| Span::Before { offset: places[9].offset + 1, limit };
    let cases: [(Span, &[&str], bool); 14] = [
        (after(6, 3), &["7", "8", "9"], false),
        (after(6, 2), &["7", "8"], true),
        (after(6, 100), &["7", "8", "9"], false),
        (after(9, 5), &[], false),
        (last(3), &["7", "8", "9"], true),
        (last(10), &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], false),
        (last(1), &["9"], true),
        (before(3, 2), &["1", "2"], true),
        (before(3, 3), &["0", "1", "2"], false),
        (before(3, 9), &["0", "1", "2"], false),
        (before(0, 5), &[], false),
        (before(9, 1), &["8"], true),
        (end(1), &["9"], true),
        (Span::Before { offset: 0, limit: 5 }, &[], false),
    ];
    for (n, (span, expected, more)) in cases.into_iter().enumerate() {
        let page = cluster.read(n, &topic, span).await;
        assert_eq!((said(&page.events), page.more), (expected.to_vec(), more), "{span:?}");
        assert_eq!((page.reset, page.head), (None, places[9]), "{span:?}");
    }
}

/// Forwards and backwards, page by page.
pub async fn paging_meets_every_event_once(fixture: &impl Fixture) {
    let topic = topic("paging");
    let cluster = Cluster::start(fixture).await;
    let start = cluster.store(0, text(&topic, "start")).await;
    let batch = (0..250).map(|n| text(&topic, &n.to_string())).collect();
    let results = within("a batch", cluster.broker(0).publish(batch)).await;
    let all: Vec<Offset> = results.into_iter().map(|result| result.unwrap().mark.unwrap().1.offset).collect();

    let (mut forwards, mut position) = (Vec::new(), start);
    loop {
        let page = cluster.read(0, &topic, Span::After { position, limit: 33 }).await;
        assert_eq!(page.reset, None);
        forwards.extend(page.events.iter().map(|event| event.mark.offset));
        position = page.events.last().unwrap().mark.position();
        if !page.more {
            break;
        }
    }
    assert_eq!(forwards, all);

    let (mut backwards, mut offset) = (Vec::new(), *all.last().unwrap() + 1);
    loop {
        let page = cluster.read(0, &topic, Span::Before { offset, limit: 33 }).await;
        backwards.extend(page.events.iter().rev().map(|event| event.mark.offset));
        offset = page.events[0].mark.offset;
        if !page.more {
            break;
        }
    }
    backwards.reverse();
    assert_eq!(backwards.split_first(), Some((&start.offset, &all[..])));
}

/// Several topics and spans in one call, a topic that never was among them.
pub async fn reads_are_answered_in_their_order(fixture: &impl Fixture) {
    let cluster = Cluster::start(fixture).await;
    let topics = super::cluster::topics("reads", 20);
    for (n, topic) in topics.iter().enumerate() {
        cluster.publish(n, text(topic, topic.as_str())).await;
        cluster.publish(n, text(topic, "last")).await;
    }
    let never = topic("never");
    let mut reads = Vec::new();
    for topic in &topics {
        reads.push(Read { topic: topic.clone(), span: Span::Last { limit: 2 } });
        reads.push(Read { topic: never.clone(), span: Span::Last { limit: 2 } });
        reads.push(Read { topic: topic.clone(), span: Span::Last { limit: 1 } });
    }
    let pages = within("history", cluster.broker(1).history(reads)).await.unwrap();
    assert_eq!(pages.len(), 60);
    for (topic, pages) in topics.iter().zip(pages.chunks(3)) {
        assert_eq!(said(&pages[0].events), [topic.as_str(), "last"]);
        assert!(pages[1].events.is_empty() && !pages[1].more && pages[1].reset.is_none());
        assert_eq!((said(&pages[2].events), pages[2].more), (vec!["last"], true));
    }
}

/// `prev` is a chain along a topic, whatever its partition does in between.
pub async fn each_event_names_the_one_before(fixture: &impl Fixture) {
    let one = topic("chain");
    let mut cluster = Cluster::start(fixture).await;
    let other = sibling(&one, cluster.broker(0).partitions());
    cluster.subscribe(0, std::slice::from_ref(&one)).await;
    let mut places = vec![0];
    for n in 0..20 {
        places.push(cluster.store(n, text(&one, "one")).await.offset);
        for _ in 0..n % 3 {
            cluster.store(n, text(&other, "other")).await;
        }
    }
    let expected: Vec<_> = places.windows(2).map(|pair| (pair[1], Some(pair[0]))).collect();
    let live = cluster.settle_node(0, std::slice::from_ref(&one)).await;
    let stored = cluster.read(0, &one, Span::Last { limit: 100 }).await.events;
    for events in [live, stored] {
        let chain: Vec<_> = events.iter().map(|event| (event.mark.offset, event.mark.prev)).collect();
        assert_eq!(chain, expected);
    }
}
