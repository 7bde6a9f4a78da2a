//! What is stored can be read again, from any place.

use tidegate_protocol::{Offset, Topic};

use super::Fixture;
use super::cluster::{Cluster, said, sibling, text, topic, within};
use crate::{Page, Read, ResetReason, Span};

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
        let part = page.events.last().filter(|_| more && matches!(span, Span::After { .. }));
        let head = part.map_or(places[9], |last| last.mark.position());
        assert_eq!((page.reset, page.head), (None, head), "{span:?}");
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

/// Topics that are read together come in the order of their offsets, as much as fits: a reader that
/// goes on from each page's head gets all of every topic, however unlike the topics are.
pub async fn topics_are_read_together_within_a_bound(fixture: &impl Fixture) {
    const BYTES: usize = 20_000;
    let cluster = Cluster::start(fixture).await;
    let dense = topic("together");
    let partition = |topic: &Topic| topic.partition(cluster.broker(0).partitions());
    let others = (0..).map(|n| topic(&format!("together:{n}")));
    let others = others.filter(|topic| partition(topic) == partition(&dense)).take(20);
    let topics: Vec<Topic> = std::iter::once(dense.clone()).chain(others).collect();
    let start = cluster.subscribe(0, &topics).await.iter().next().unwrap().1;
    let mut stored = Vec::new();
    for n in 0..40_usize {
        // The others have something at the very end, and one large event each.
        let (topic, size) = if n < 20 { (&dense, 4_000) } else { (&topics[n - 19], 9_000) };
        stored.push(cluster.store(n, text(topic, &"x".repeat(size))).await.offset);
    }
    let read =
        |topic: &Topic, position| Read { topic: topic.clone(), span: Span::After { position, limit: 1_000 } };
    let mut places = vec![start; topics.len()];
    let (mut got, mut calls) = (Vec::new(), 0);
    loop {
        let reads: Vec<Read> = topics.iter().zip(&places).map(|(topic, place)| read(topic, *place)).collect();
        let pages = within("history", cluster.broker(1).history_within(reads, BYTES)).await.unwrap();
        assert!(pages.iter().all(|page| page.reset.is_none()));
        let mut offsets: Vec<Offset> =
            pages.iter().flat_map(|page| &page.events).map(|event| event.mark.offset).collect();
        offsets.sort_unstable();
        assert!(pages.iter().map(Page::bytes).sum::<usize>() <= BYTES, "{offsets:?}");
        got.extend(offsets);
        calls += 1;
        places = pages.iter().map(|page| page.head).collect();
        if pages.iter().all(|page| !page.more) {
            break;
        }
    }
    assert_eq!(got, stored);
    assert!(calls <= 20, "{calls} calls for 260 kB");

    // An event that is larger than all of the bytes fits alone.
    let reads = topics.iter().map(|topic| read(topic, start)).collect();
    let pages = within("history", cluster.broker(0).history_within(reads, 1)).await.unwrap();
    let events: usize = pages.iter().map(|page| page.events.len()).sum();
    assert_eq!((events, pages[0].events[0].mark.offset, pages[0].head.offset), (1, stored[0], stored[0]));
    assert!(pages.iter().all(|page| page.more && page.head.offset == stored[0]));

    let last = |topic: &Topic| Read { topic: topic.clone(), span: Span::Last { limit: 3 } };
    let pages = cluster.broker(0).history_within(topics.iter().map(last).collect(), 21 * 4_500);
    let pages = within("history", pages).await.unwrap();
    // The large ones are more than their shares.
    assert!(pages.iter().all(|page| page.events.len() == 1));
}

/// A reader must hear of a hole also while its page ends before the topic's next event: after that
/// page nothing shows it.
pub async fn a_hole_after_the_page_is_told(fixture: &impl Fixture) {
    let cluster = Cluster::start(fixture).await;
    let one = topic("hole");
    let other = sibling(&one, cluster.broker(0).partitions());
    let topics = [one.clone(), other.clone()];
    let start = cluster.subscribe(0, &topics).await.iter().next().unwrap().1;
    cluster.store(0, text(&one, "lost")).await;
    assert!(within("forget", cluster.broker(0).forget(&one)).await.unwrap());
    for n in 0..3 {
        cluster.store(n, text(&other, "other")).await;
    }
    cluster.store(0, text(&one, "kept")).await;
    let span = Span::After { position: start, limit: 1 };
    let reads = topics.iter().map(|topic| Read { topic: topic.clone(), span }).collect();
    let pages = within("history", cluster.broker(1).history_within(reads, 1)).await.unwrap();
    assert_eq!((said(&pages[0].events), said(&pages[1].events)), (vec![], vec!["other"]));
    assert_eq!((pages[0].reset, pages[1].reset), (Some(ResetReason::Trimmed), None));
    assert!(pages[0].more && pages[1].more && pages[0].head == pages[1].head);

    // Of one that ends later the reader hears later, and once.
    let start = cluster.store(0, text(&other, "before")).await;
    cluster.store(0, text(&other, "other")).await;
    cluster.store(0, text(&one, "lost")).await;
    assert!(within("forget", cluster.broker(0).forget(&one)).await.unwrap());
    cluster.store(0, text(&other, "after")).await;
    let read = |position| {
        let span = Span::After { position, limit: 1 };
        let reads = topics.iter().map(|topic| Read { topic: topic.clone(), span }).collect();
        within("history", cluster.broker(1).history_within(reads, 1))
    };
    for kept in [false, true] {
        if kept {
            cluster.store(0, text(&one, "kept")).await;
        }
        let pages = read(start).await.unwrap();
        assert_eq!((said(&pages[1].events), pages[0].reset, pages[0].more), (vec!["other"], None, true));
        let pages = read(pages[0].head).await.unwrap();
        let reason = if kept { ResetReason::Trimmed } else { ResetReason::Expired };
        assert_eq!(
            (said(&pages[1].events), pages[0].reset, pages[0].more),
            (vec!["after"], Some(reason), kept)
        );
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
