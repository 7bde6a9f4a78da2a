//! Nodes end, and clients go on elsewhere.

use std::slice;
use std::time::Duration;

use tidegate_testkit::eventually;

use super::numbers;
use crate::client::{Ask, Client, End, Seen};
use crate::follower::{Follower, Tale};
use crate::way::Way;
use crate::world::{World, lone_node, node_for, storm, unique};

over_every_transport!(a_node_drains, a_rolling_restart_loses_and_repeats_nothing);

over_every_stream!(a_draining_node_closes_each_stream_in_its_own_time, a_second_signal_cuts_streams);

async fn a_node_drains(way: Way) {
    let world = World::shared().await;
    let node = node_for(way, &[]).await;
    let topics = [unique("room"), unique("news")];
    let bases = [vec![node.base()], world.bases(way)].concat();
    let follower = Follower::start(way, bases.clone(), Ask::new(&topics)).await;
    let publisher = storm(world.all(), &topics, Duration::from_millis(1));
    publisher.reached(50).await;
    node.terminate();
    assert!(node.wait().await.success(), "{}", node.log());
    assert!(node.log().contains("every stream was closed"), "{}", node.log());
    publisher.more(20).await;
    let count = publisher.finish().await;
    let tale = follower.wait_data(count).await;
    assert_eq!(tale.data, numbers(0..count));
    assert_drained(way, &tale);
    assert!(way.polls() || tale.ends.len() == 1, "{:?}", tale.ends);
}

async fn a_rolling_restart_loses_and_repeats_nothing(way: Way) {
    let mut pair = World::shared_pair(way).await;
    let topics = [unique("room"), unique("news")];
    let bases = pair.bases(way);
    let followers = [
        Follower::start(way, bases.clone(), Ask::new(&topics)).await,
        Follower::start(way, bases, Ask::new(&topics)).await,
    ];
    let publisher = storm(World::shared().await.all(), &topics, Duration::from_millis(2));
    for node in pair.plain.iter_mut().chain(&mut pair.tls) {
        publisher.more(50).await;
        node.terminate();
        assert!(node.wait().await.success(), "{}", node.log());
        node.restart().await;
    }
    publisher.more(50).await;
    let count = publisher.finish().await;
    for follower in &followers {
        let tale = follower.wait_data(count).await;
        assert_eq!(tale.data, numbers(0..count));
        assert_drained(way, &tale);
        assert!(way.polls() || tale.ends.len() == 2, "it was on both nodes: {:?}", tale.ends);
    }
}

/// Whether every stream heard of the drain before it ended in good order. A long poll just goes
/// elsewhere.
#[track_caller]
fn assert_drained(way: Way, tale: &Tale) {
    if way.polls() {
        assert_eq!(tale.words, [""; 0]);
    } else {
        assert_eq!(tale.words, vec!["drain"; tale.ends.len()]);
        assert!(tale.ends.iter().all(|end| end.is_good("drain")), "{:?}", tale.ends);
    }
}

async fn a_draining_node_closes_each_stream_in_its_own_time(way: Way) {
    let node = lone_node(way, &[]).await;
    let ask = Ask::new(&["a"]);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::open(way, slice::from_ref(&node.base()), &ask).await);
    }
    node.terminate();
    let mut delays = Vec::new();
    for client in &mut clients {
        delays.push(client.closed_for("drain").await);
    }
    drop(clients);
    assert!(node.wait().await.success());
    assert!(node.log().contains("every stream was closed"), "{}", node.log());
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 5, "each has a delay of its own: {delays:?}");
}

async fn a_second_signal_cuts_streams(way: Way) {
    let node = lone_node(way, &[("TIDEGATE_DRAIN__DELAY", "1h"), ("TIDEGATE_DRAIN__DEADLINE", "2h")]).await;
    let mut client = Client::open(way, slice::from_ref(&node.base()), &Ask::new(&["a"])).await;
    node.terminate();
    eventually("the first is heard", async || node.log().contains("a second signal").then_some(())).await;
    node.terminate();
    let seen = client.next().await;
    let end = if way.hides_a_cut() { End::InOrder } else { End::Cut };
    assert_eq!(seen, Seen::End(end), "nothing is said any more");
    node.wait().await;
}
