//! Another primary: with all events, without the last ones, or beside one that still lives.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_broker::{Broker, Publication, Read, ResetReason, Span};
use tidegate_broker_redis::Options;
use tidegate_protocol::Topic;
use tidegate_testkit::{DEADLINE, RedisServer, eventually};

use crate::cluster::{Node, options, publication, topic, topics};
use crate::primaries::{Names, address, begun, node, node_with, unhurried, url};

fn kept_by_key(room: &Topic, text: &str) -> Publication {
    Publication { key: Some("once".into()), ..publication(room, text) }
}

/// The old primary lives on as a replica, with the connections of the nodes open: it takes no
/// event, and still sends those of the new one. A node that only looks at its connections would
/// stay there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_primary_is_left_though_it_breaks_no_connection() {
    let (old, [new]) = RedisServer::replicated().await;
    let proxy = address(&old).await;
    let room = topic("room:1");
    let (mut a, mut b) = (node(&proxy, &room).await, node(&proxy, &room).await);
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let publisher = tokio::spawn({
        let (broker, room) = (Arc::clone(&b.broker), room.clone());
        async move {
            let (mut number, mut taken) = (0, Vec::new());
            while !*stopped.borrow_and_update() {
                let text = number.to_string();
                if broker.publish(vec![publication(&room, &text)]).await.remove(0).is_ok() {
                    taken.push(text);
                }
                number += 1;
            }
            taken
        }
    });
    for _ in 0..20 {
        a.text().await;
    }
    proxy.set_upstream(new.addr());
    old.fail_over_to(&new).await;
    a.publish_at_last(&room, "recovered").await;
    stop.send_replace(true);
    let taken = publisher.await.unwrap();
    a.publish_at_last(&room, "end").await;
    for node in [&mut a, &mut b] {
        node.wait_ready(true).await;
        assert_eq!(begun(node, "lossy"), 0);
    }
    while a.text().await != "end" {}
    for text in taken {
        // Others may be between them: those that were stored, and had no answer.
        while b.text().await != text {}
    }
}

/// What is read without a script comes from the primary, too: connections that were made while the
/// old one still had the address go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memberships_are_read_where_the_node_has_entered() {
    let (old, [new]) = RedisServer::replicated().await;
    let proxy = address(&old).await;
    let (room, user) = (topic("room:1"), topic("user:ann"));
    let mut late = node_with(Options { pool_size: 1, ..options(&url(&proxy)) }, &room).await;
    old.synced(1).await;
    new.promote().await;
    // It keeps its connections and its data, takes nothing, and hears nothing.
    old.cli(&["REPLICAOF", "127.0.0.1", "1"]).await;
    late.wait_ready(false).await;
    let early = Node::start(options(&new.url()));
    early.wait_ready(true).await;
    assert!(early.broker.set_membership(&user, &room, true).await.unwrap());
    // Long enough that the node asks rarely who the primary is.
    for _ in 0..2000 {
        let read = late.broker.memberships_of(std::slice::from_ref(&user)).await.unwrap();
        assert_eq!(read, [Vec::new()], "not from the old one");
    }
    proxy.set_upstream(new.addr());
    late.continued().await;
    late.gap().await;
    let read = late.broker.memberships_of(std::slice::from_ref(&user)).await.unwrap();
    assert_eq!(read, [vec![room]]);
}

/// A node reads what it does not listen to. If that is lost with the primary, its streams are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_read_has_seen_is_told_when_it_is_lost() {
    let (old, [new]) = RedisServer::replicated().await;
    let proxy = address(&old).await;
    let (room, other) = (topic("room:1"), topic("room:2"));
    let mut reader = node_with(unhurried(&url(&proxy)), &room).await;
    reader.publish_at_last(&room, "before").await;
    assert_eq!(reader.text().await, "before");
    old.synced(1).await;
    // From here on, nothing is replicated.
    new.promote().await;
    let publisher = Node::start(unhurried(&old.url()));
    publisher.publish_at_last(&other, "lost").await;
    drop(publisher);
    let page = reader.read(&other, Span::Last { limit: 1 }).await;
    assert_eq!(page.events.len(), 1);
    proxy.set_upstream(new.addr());
    proxy.cut();
    let (topics, reason, _) = reader.reset().await;
    assert_eq!((topics, reason), (None, ResetReason::Epoch));
    assert_eq!(begun(&reader, "lossy"), 1);
}

/// A membership is stored on a primary that is replaced, and reaches no other node: the one that
/// stored it knows of the loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_membership_that_is_lost_with_its_primary_is_told() {
    let (old, [new]) = RedisServer::replicated().await;
    let proxy = address(&old).await;
    let (room, ann) = (topic("room:1"), topic("user:ann"));
    let mut node = node_with(unhurried(&url(&proxy)), &room).await;
    old.synced(1).await;
    new.promote().await;
    assert!(node.broker.set_membership(&ann, &room, true).await.unwrap());
    proxy.set_upstream(new.addr());
    proxy.cut();
    let (topics, reason, _) = node.reset().await;
    assert_eq!((topics, reason), (None, ResetReason::Epoch));
}

/// A primary sleeps, another one takes over, and the first one wakes up with commands in its
/// sockets: it takes them, and sends them to those who still listen to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_wakes_up_after_it_was_replaced_gives_no_name_again() {
    let (old, [new]) = RedisServer::replicated().await;
    let (room, mut names) = (topic("room:1"), Names::default());
    let (moved, left) = (address(&old).await, address(&old).await);
    let mut a = node(&moved, &room).await;
    let mut b = node_with(unhurried(&url(&left)), &room).await;
    let before = names.publish(&a, &room, "before").await;
    for node in [&mut a, &mut b] {
        assert_eq!(names.until(node, "before").await, 0);
    }
    old.synced(1).await;

    old.pause();
    let late: Vec<_> = (0..5)
        .map(|number| {
            let (broker, room) = (Arc::clone(&b.broker), room.clone());
            let publish = async move {
                let text = format!("late {number}");
                (broker.publish(vec![publication(&room, &text)]).await.remove(0), text)
            };
            tokio::spawn(publish)
        })
        .collect();
    new.promote().await;
    moved.set_upstream(new.addr());
    moved.cut();
    for text in ["new 1", "new 2", "new 3"] {
        let name = names.publish(&a, &room, text).await;
        assert_ne!(name.epoch, before.epoch);
    }
    assert_eq!(names.until(&mut a, "new 3").await, 0);

    old.resume();
    let mut taken = 0;
    for late in late {
        if let (Ok(receipt), text) = late.await.unwrap() {
            names.note(receipt.mark.unwrap().1, &text);
            taken += 1;
        }
    }
    assert!(taken > 0, "the sleeper has taken none of them");
    left.set_upstream(new.addr());
    left.cut();
    names.publish(&b, &room, "after").await;
    // What the old one has taken is lost: everybody is told, once.
    assert_eq!(names.until(&mut b, "after").await, 1);
    assert_eq!(names.until(&mut a, "after").await, 1);
    names.publish(&a, &room, "end").await;
    for node in [&mut a, &mut b] {
        assert_eq!(names.until(node, "end").await, 0);
    }
}

/// A connection lives through its server's demotion, another's reign and a second promotion.
/// Nothing is lost, and the script finds out once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_is_noticed_once() {
    let (a, [b]) = RedisServer::replicated().await;
    let room = topic("room:1");
    let mut node = node_with(unhurried(&a.url()), &room).await;
    let before = node.publish(&room, "before").await.unwrap().mark.unwrap().1;
    a.fail_over_to(&b).await;
    b.fail_over_to(&a).await;
    let after = node.publish(&room, "after").await.unwrap().mark.unwrap().1;
    assert_ne!(before.epoch, after.epoch);
    assert_eq!(after.offset, before.offset + 1);
    assert_eq!([node.text().await, node.text().await], ["before", "after"]);
    assert_eq!((begun(&node, "clean"), begun(&node, "lossy")), (1, 0));

    a.cli(&["CONFIG", "RESETSTAT"]).await;
    for number in 0..20 {
        node.publish(&room, &number.to_string()).await.unwrap();
        assert_eq!(node.text().await, number.to_string());
    }
    let calls = a.info("commandstats").await;
    assert!(calls.contains("cmdstat_evalsha:calls=20,"), "none of them was made twice: {calls}");
}

/// A node's subscription is at the new primary, and its publishing connections at the old one, or
/// the other way about: it publishes, and hears it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_two_primaries_find_together() {
    for moving in ["pubsub", "normal"] {
        let (old, [new]) = RedisServer::replicated().await;
        let proxy = address(&old).await;
        let room = topic("room:1");
        let mut node = node_with(unhurried(&url(&proxy)), &room).await;
        let before = node.publish(&room, "before").await.unwrap().mark.unwrap().1;
        assert_eq!(node.text().await, "before");
        old.synced(1).await;
        new.promote().await;
        proxy.set_upstream(new.addr());
        old.cli(&["CLIENT", "KILL", "TYPE", moving]).await;
        if moving == "pubsub" {
            // Until then the node has no reason to doubt the old one.
            node.continued().await;
        }
        let after = node.publish_at_last(&room, "after").await.mark.unwrap().1;
        assert_eq!(node.text().await, "after", "{moving}");
        assert_ne!(before.epoch, after.epoch);
        assert_eq!((begun(&node, "clean"), begun(&node, "lossy")), (1, 0), "{moving}");
        let stored = format!("{:?}", new.cli(&["XRANGE", "tg:{0}:s:room:1", "-", "+"]).await);
        assert!(stored.contains("after"), "{stored}");
    }
}

/// What a node saw of a primary is held against those that come long after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_is_noticed_reigns_later() {
    let (mut old, [mut new]) = RedisServer::replicated().await;
    let (room, mut names) = (topic("room:1"), Names::default());
    let (here, there) = (address(&old).await, address(&old).await);
    let (mut a, mut b) = (node(&here, &room).await, node(&there, &room).await);
    names.publish(&b, &room, "kept").await;
    old.synced(1).await;
    // The one that will take over does not get what comes now, and only one node does.
    here.refuse();
    here.cut();
    new.promote().await;
    assert_eq!(names.until(&mut b, "kept").await, 0);
    names.publish(&b, &room, "lost").await;
    assert_eq!(names.until(&mut b, "lost").await, 0);
    old.stop().await;
    there.refuse();
    there.cut();
    here.set_upstream(new.addr());
    here.accept();
    for number in 0..3 {
        let text = format!("reign {number}");
        names.publish(&a, &room, &text).await;
        assert_eq!(names.until(&mut a, &text).await, 0, "it has seen nothing of a loss");
        new.restart().await;
    }
    names.publish(&a, &room, "last").await;
    assert_eq!((begun(&a, "clean"), begun(&a, "lossy")), (4, 0));

    there.set_upstream(new.addr());
    there.accept();
    names.publish(&b, &room, "after").await;
    assert_eq!(names.until(&mut b, "after").await, 1);
    assert_eq!(names.until(&mut a, "after").await, 1);
    assert_eq!(begun(&a, "lossy") + begun(&b, "lossy"), 1);
}

/// Two replicas of one primary, promoted one after the other: both count on from the same number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_take_over_from_one_place_give_different_names() {
    let (mut old, [mut first, second]) = RedisServer::replicated().await;
    let (room, mut names) = (topic("room:1"), Names::default());
    let proxy = address(&old).await;
    let (mut a, mut b) = (node(&proxy, &room).await, node(&proxy, &room).await);
    names.publish(&a, &room, "before").await;
    old.synced(2).await;
    old.stop().await;
    first.promote().await;
    proxy.set_upstream(first.addr());
    let one = names.publish(&a, &room, "one").await;
    for node in [&mut a, &mut b] {
        assert_eq!(names.until(node, "one").await, 0);
    }
    first.stop().await;
    second.promote().await;
    proxy.set_upstream(second.addr());
    let two = names.publish(&b, &room, "two").await;
    assert_eq!(one.offset, two.offset, "both count on");
    for node in [&mut a, &mut b] {
        assert_eq!(names.until(node, "two").await, 1);
    }
    assert_eq!(begun(&a, "lossy") + begun(&b, "lossy"), 1);
}

/// A publication that is repeated through another node, and at another primary, is the same one.
/// Its receipt can be lost with the primary that gave it: then it is stored there once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_elsewhere_is_the_same_publication() {
    let (first, [mut second]) = RedisServer::replicated().await;
    let room = topic("room:1");
    let proxy = address(&first).await;
    let (mut a, mut b) = (node(&proxy, &room).await, node(&proxy, &room).await);
    let once = async |node: &Node| {
        let receipt = eventually("a receipt", async || {
            node.broker.publish(vec![kept_by_key(&room, "once")]).await.remove(0).ok()
        });
        receipt.await.mark.unwrap().1
    };
    let name = once(&a).await;
    assert_eq!(once(&b).await, name);
    proxy.set_upstream(second.addr());
    first.fail_over_to(&second).await;
    for node in [&mut a, &mut b] {
        assert_eq!(once(node).await, name);
        assert_eq!(node.text().await, "once");
        node.continued().await;
        node.wait_ready(true).await;
        assert_eq!(once(node).await, name);
    }

    // It does not get what the other one takes from now on.
    first.promote().await;
    let other = Publication { key: Some("other".into()), ..publication(&room, "other") };
    let lost = a.broker.publish(vec![other.clone()]).await.remove(0).unwrap().mark.unwrap().1;
    for node in [&mut a, &mut b] {
        assert_eq!(node.text().await, "other");
    }
    second.stop().await;
    proxy.set_upstream(first.addr());
    a.publish_at_last(&room, "after").await;
    let again = b.broker.publish(vec![other]).await.remove(0).unwrap().mark.unwrap().1;
    assert_ne!(lost, again);
    for node in [&mut a, &mut b] {
        assert_eq!(node.reset().await.1, ResetReason::Epoch);
        assert_eq!([node.text().await, node.text().await], ["after", "other"]);
    }
    let page = a.read(&room, Span::Last { limit: 10 }).await;
    assert_eq!(page.events.len(), 3);
}

/// A read meets a primary that has become a replica before the node has noticed: it is made again
/// where the primary is, and so is a change of a membership.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_follow_the_primary() {
    let (old, [new]) = RedisServer::replicated().await;
    let proxy = address(&old).await;
    let (room, ann) = (topic("room:1"), topic("user:ann"));
    let node = node_with(unhurried(&url(&proxy)), &room).await;
    node.publish(&room, "before").await.unwrap();
    let read = Read { topic: room.clone(), span: Span::Last { limit: 1 } };
    // Its connections are open.
    node.broker.history(vec![read.clone()]).await.unwrap();
    assert!(node.broker.set_membership(&ann, &room, true).await.unwrap());
    old.synced(1).await;
    proxy.set_upstream(new.addr());
    old.fail_over_to(&new).await;
    let page = node.broker.history(vec![read.clone()]).await.unwrap().remove(0);
    assert_eq!(page.events.len(), 1);
    proxy.set_upstream(old.addr());
    new.fail_over_to(&old).await;
    assert!(node.broker.set_membership(&ann, &room, false).await.unwrap());
    assert_eq!((begun(&node, "clean"), begun(&node, "lossy")), (2, 0));
}

/// Each partition has a line of its own, and all of them share the publishing connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_partitions_change_their_primary_together() {
    let (old, [new]) = RedisServer::replicated().await;
    let proxy = address(&old).await;
    let connect_timeout = DEADLINE;
    let mut node = Node::start(Options { partitions: 4, connect_timeout, ..options(&url(&proxy)) });
    let rooms = topics(8);
    node.subscribe(&rooms).await;
    node.wait_ready(true).await;
    let batch = |text: &str| rooms.iter().map(|room| publication(room, text)).collect::<Vec<_>>();
    for result in node.broker.publish(batch("before")).await {
        result.unwrap();
    }
    proxy.set_upstream(new.addr());
    old.fail_over_to(&new).await;
    for result in node.broker.publish(batch("after")).await {
        result.unwrap();
    }
    let mut seen = HashMap::new();
    for _ in 0..2 * rooms.len() {
        let event = node.event().await;
        let text = String::from_utf8_lossy(event.data.as_bytes()).into_owned();
        seen.entry(event.topic.clone()).or_insert_with(Vec::new).push(text);
    }
    for room in &rooms {
        assert_eq!(seen[room], ["before", "after"]);
    }
    assert_eq!((begun(&node, "clean"), begun(&node, "lossy")), (4, 0));
    let reads = rooms.iter().map(|room| Read { topic: room.clone(), span: Span::Last { limit: 5 } });
    let pages = node.broker.history(reads.collect()).await.unwrap();
    assert!(pages.iter().all(|page| page.events.len() == 2));
}
