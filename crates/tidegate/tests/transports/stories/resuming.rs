//! A client that comes back with its cursor, to any node, has missed nothing and gets nothing twice.

use std::time::Duration;

use serde_json::json;

use super::{assert_whole, numbers};
use crate::client::{Ask, Client, Seen};
use crate::follower::Follower;
use crate::way::Way;
use crate::world::{World, publish, send, storm, unique};

over_every_transport!(
    resume_on_another_node,
    resume_before_the_first_event,
    resume_with_four_partitions,
    come_and_go_while_batches_arrive,
    replay_then_live,
    go_on_over_every_other_way,
);

async fn resume_on_another_node(way: Way) {
    resume(way, World::shared().await, 1).await;
}

async fn resume_with_four_partitions(way: Way) {
    resume(way, World::partitioned().await, 4).await;
}

/// Away and back again and again while events of eight topics come as fast as they can, and in between while they pause.
async fn resume(way: Way, world: &World, partitions: usize) {
    let topics: Vec<String> = (0..8).map(|_| unique("room")).collect();
    let mut bases = world.bases(way);
    let mut ask = Ask::new(&topics);
    let (mut data, mut sent) = (Vec::new(), 0);
    let mut client = Client::open(way, &bases, &ask).await;
    let publisher = storm(world.all(), &topics, Duration::from_millis(1));
    for n in 1..=5 {
        data.extend(client.data(10 * n).await);
        ask = ask.after(&client.leave());
        publisher.more(20).await;
        if n == 5 {
            sent = publisher.sent();
            break;
        }
        bases.rotate_left(1);
        client = Client::open(way, &bases, &ask).await;
    }
    let count = publisher.finish().await;
    assert!(count >= sent);
    bases.rotate_left(1);
    // And once more to a node on which it has been, when all is quiet.
    let mut client = Client::open(way, &bases, &ask).await;
    data.extend(client.data(count - data.len()).await);
    // Topics of one partition come in the order of publishing, those of several each in their own.
    let orders = if partitions == 1 { 1 } else { topics.len() };
    assert_whole(&data, count, 0..orders, orders);
    assert!(client.cursor().len() <= 128 && client.cursor().split('.').count() <= partitions);
    publish(&bases[0], &topics[0], count).await;
    assert_eq!(client.data(1).await, [count.to_string()], "nothing came twice");
}

/// What is read of one topic while the next is read may be ahead of it: nothing of either may be passed over.
async fn come_and_go_while_batches_arrive(way: Way) {
    const TOPICS: usize = 16;
    const COUNT: usize = 60 * 2 * TOPICS;
    let world = World::partitioned().await;
    let topics: Vec<String> = (0..TOPICS).map(|_| unique("room")).collect();
    let mut bases = world.bases(way);
    let mut ask = Ask::new(&topics);
    ask.cursor = Some(Client::open(way, &bases, &ask).await.leave());
    // Because of them the nodes have half of the topics at hand.
    let mut listeners = Vec::new();
    for base in &bases {
        listeners.push(Follower::start(way, vec![base.clone()], Ask::new(&topics[..TOPICS / 2])).await);
    }
    let publishing = async {
        let numbers: Vec<usize> = (0..COUNT).collect();
        for batch in numbers.chunks(2 * TOPICS) {
            let events = batch.iter().map(|n| json!({ "topic": topics[n % TOPICS], "data": n }));
            send(&world.plain[0].base(), &events.collect()).await;
        }
    };
    let mut data = Vec::new();
    let receiving = async {
        while data.len() < COUNT {
            bases.rotate_left(1);
            let client = Client::try_open(way, &bases[..1], &ask).await;
            // Nobody slows the publisher down: who is a moment late has an outbox that is full.
            let Ok(mut client) = client else { continue };
            let visit = COUNT.min(data.len() + 100);
            while data.len() < visit {
                match client.next().await {
                    Seen::Event(event) => data.push(event.data),
                    Seen::End(_) => break,
                    other => panic!("{other:?}: {client:?}"),
                }
            }
            ask = ask.after(&client.leave());
        }
    };
    tokio::join!(publishing, receiving);
    assert_whole(&data, COUNT, 0..TOPICS, TOPICS);
    for listener in &listeners {
        assert_whole(&listener.wait_data(COUNT / 2).await.data, COUNT, 0..TOPICS / 2, TOPICS);
    }
}

async fn resume_before_the_first_event(way: Way) {
    let world = World::shared().await;
    let topics = [unique("room"), unique("news")];
    let (bases, ask) = (world.bases(way), Ask::new(&topics));
    let cursor = Client::open(way, &bases, &ask).await.leave();
    for n in 0..20 {
        publish(&world.plain[n % 3].base(), &topics[n % 2], n).await;
    }
    let mut client = Client::open(way, &[bases[1].clone()], &ask.after(&cursor)).await;
    assert_eq!(client.data(20).await, numbers(0..20));
    // With nothing to catch up, and again.
    let cursor = client.leave();
    let mut client = Client::open(way, &bases, &ask.after(&cursor)).await;
    publish(&bases[0], &topics[0], 20).await;
    assert_eq!(client.data(1).await, ["20"]);
}

async fn replay_then_live(way: Way) {
    for world in [World::shared().await, World::partitioned().await] {
        let topic = unique("room");
        let bases = world.bases(way);
        for n in 0..30 {
            publish(&world.plain[n % 2].base(), &topic, n).await;
        }
        let mut live = Client::open(way, &bases, &Ask::new(&[&topic])).await;
        let mut client = Client::open(way, &bases, &Ask::new(&[&topic]).replay(7)).await;
        publish(&bases[0], &topic, 30).await;
        assert_eq!(client.data(8).await, numbers(23..31));
        assert_eq!(live.data(1).await, ["30"]);
        // A replay that was not read to its end goes on where it was left, at its beginning, too.
        let cursor = Client::open(way, &bases, &Ask::new(&[&topic]).replay(3)).await.leave();
        if !way.polls() {
            // The cursor of a long poll comes with the events.
            let mut client = Client::open(way, &bases[1..], &Ask::new(&[&topic]).after(&cursor)).await;
            assert_eq!(client.data(3).await, numbers(28..31));
        }
        let mut client = Client::open(way, &bases, &Ask::new(&[&topic]).replay(100)).await;
        assert_eq!(client.data(5).await, numbers(0..5));
        let cursor = client.leave();
        let mut client = Client::open(way, &bases[1..], &Ask::new(&[&topic]).replay(3).after(&cursor)).await;
        assert_eq!(client.data(26).await, numbers(5..31), "the cursor wins");
    }
}

async fn go_on_over_every_other_way(way: Way) {
    let world = World::shared().await;
    let topics = [unique("room"), unique("news")];
    let ask = Ask::new(&topics);
    let mut client = Client::open(way, &world.bases(way), &ask).await;
    publish(&world.plain[0].base(), &topics[0], 0).await;
    assert_eq!(client.data(1).await, ["0"]);
    let mut cursor = client.leave();
    for (n, other) in Way::ALL.into_iter().enumerate() {
        publish(&world.plain[n % 3].base(), &topics[n % 2], n + 1).await;
        let mut client = Client::open(other, &world.bases(other), &ask.after(&cursor)).await;
        assert_eq!(client.data(1).await, [(n + 1).to_string()], "from {way:?} to {other:?}");
        cursor = client.leave();
    }
}
