//! Nodes and Redis come and go, and clients miss nothing.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tidegate_testkit::{RedisServer, eventually, http};

use super::numbers;
use crate::client::{Ask, Client, Refused, Seen};
use crate::follower::Follower;
use crate::way::Way;
use crate::world::{KEY, World, node_for, publish, storm, unique};

over_every_transport!(
    a_node_is_killed,
    redis_hangs_and_goes_on,
    redis_restarts_with_its_data_and_then_without,
    subscriptions_are_killed_in_a_burst,
);

async fn a_node_is_killed(way: Way) {
    let world = World::shared().await;
    let node = node_for(way, &[]).await;
    let topics = [unique("room"), unique("news")];
    let bases = [vec![node.base()], world.bases(way)].concat();
    let followers = [
        Follower::start(way, bases.clone(), Ask::new(&topics)).await,
        Follower::start(way, bases, Ask::new(&topics)).await,
    ];
    let publisher = storm(world.all(), &topics, Duration::from_millis(1));
    publisher.reached(50).await;
    node.kill().await;
    publisher.more(50).await;
    for follower in &followers {
        // Whatever comes over the new connection comes now.
        follower.wait(|tale| tale.connections > 1).await;
    }
    publisher.more(20).await;
    let count = publisher.finish().await;
    for follower in &followers {
        let tale = follower.wait_data(count).await;
        assert_eq!(tale.data, numbers(0..count));
        assert_eq!(tale.words, [""; 0], "no time for a word");
    }
}

async fn redis_hangs_and_goes_on(way: Way) {
    let redis = RedisServer::start().await;
    let world = World::pair(way, &redis).await;
    let (bases, topic) = (world.bases(way), unique("room"));
    let follower = Follower::start(way, bases.clone(), Ask::new(&[&topic])).await;
    let publisher = storm(bases, &[&topic], Duration::from_millis(5));
    publisher.reached(50).await;
    redis.pause();
    for node in world.plain.iter().chain(&world.tls) {
        let ready = async || http::get(&node.admin_url("/readyz")).await.status == 200;
        eventually("it is not ready", async || (!ready().await).then_some(())).await;
    }
    redis.resume();
    for node in world.plain.iter().chain(&world.tls) {
        node.ready().await;
    }
    publisher.more(50).await;
    let count = publisher.finish().await;
    let tale = follower.wait_data(count).await;
    assert_eq!(tale.data, numbers(0..count));
    assert_eq!(tale.words, [""; 0]);
    assert!(way.polls() || tale.ends.is_empty(), "on one connection: {:?}", tale.ends);
}

async fn redis_restarts_with_its_data_and_then_without(way: Way) {
    let mut redis = RedisServer::start().await;
    let world = World::pair(way, &redis).await;
    let (bases, topic) = (world.bases(way), unique("room"));
    let ask = Ask::new(&[&topic]);
    let mut client = Client::open(way, &bases, &ask).await;
    let away = Client::open(way, &bases, &ask).await.leave();
    for n in 0..10 {
        publish(&bases[n % 2], &topic, n).await;
    }
    assert_eq!(client.data(5).await, numbers(0..5));

    redis.cli(&["SAVE"]).await;
    redis.stop().await;
    let lost = json!({"topic": topic, "data": "lost"});
    let refused = http::send(Method::POST, &format!("{}/v1/publish", bases[0]), Some(KEY), Some(&lost)).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.headers["content-type"]),
        (503, &"application/problem+json".parse().unwrap())
    );
    assert!(refused.headers.contains_key("retry-after"));
    let refused = Client::try_open(way, &bases, &Ask::new(&[unique("room")])).await.err();
    assert_eq!(refused, Some(Refused::for_now(way, "unavailable", 503)));
    redis.start_again().await;
    for node in world.plain.iter().chain(&world.tls) {
        node.ready().await;
    }
    for n in 10..20 {
        publish(&bases[n % 2], &topic, n).await;
    }
    assert_eq!(client.data(15).await, numbers(5..20), "on the same connection, each once");
    let mut back = Client::open(way, &bases[1..], &ask.after(&away)).await;
    assert_eq!(back.data(20).await, numbers(0..20));

    let old = back.cursor().to_owned();
    redis.restart_empty().await;
    for client in [&mut client, &mut back] {
        assert!(
            matches!(client.next().await, Seen::Reset { reason, .. } if way.polls() || reason == "epoch")
        );
    }
    for node in world.plain.iter().chain(&world.tls) {
        node.ready().await;
    }
    let mut late = Client::open(way, &bases, &ask.after(&old)).await;
    assert!(matches!(late.next().await, Seen::Reset { reason, .. } if way.polls() || reason == "epoch"));
    publish(&bases[0], &topic, "anew").await;
    for client in [&mut client, &mut back, &mut late] {
        assert_eq!(client.data(1).await, ["anew"]);
    }
}

async fn subscriptions_are_killed_in_a_burst(way: Way) {
    let redis = RedisServer::start().await;
    let world = World::pair(way, &redis).await;
    let topics = [unique("room"), unique("news")];
    let bases = world.bases(way);
    let followers = [
        Follower::start(way, bases.clone(), Ask::new(&topics)).await,
        Follower::start(way, vec![bases[1].clone(), bases[0].clone()], Ask::new(&topics)).await,
    ];
    let publisher = storm(bases, &topics, Duration::ZERO);
    for _ in 0..4 {
        publisher.more(60).await;
        redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    }
    publisher.more(60).await;
    let count = publisher.finish().await;
    for follower in &followers {
        let tale = follower.wait_data(count).await;
        assert_eq!(tale.data, numbers(0..count));
        assert_eq!((tale.words, tale.ends), (Vec::new(), Vec::new()), "on one connection");
    }
}
