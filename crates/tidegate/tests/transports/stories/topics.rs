//! Many topics in one stream: those asked for, the user's own, and memberships that come and go.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{assert_whole, numbers};
use crate::client::{Ask, Client};
use crate::follower::Follower;
use crate::way::Way;
use crate::world::{World, manage, publish, send, somebody, storm, unique};

over_every_transport!(
    many_topics_in_one_stream,
    memberships_come_and_go,
    a_topic_asked_for_outlives_the_membership,
    memberships_come_while_publishers_run,
);

async fn many_topics_in_one_stream(way: Way) {
    let world = World::shared().await;
    let topics: Vec<String> = (0..100).map(|_| unique("room")).collect();
    let (user, other) = (somebody("alice"), unique("room"));
    let mut client = Client::open(way, &world.bases(way), &Ask::as_user(&user, &topics)).await;
    if let Some(told) = &mut client.topics {
        let mut expected = topics.clone();
        expected.push(format!("user:{user}"));
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(*told, expected);
    }
    let mut batch: Vec<_> =
        (0..200).map(|n| json!({ "topic": topics[n % 100], "event": topics[n % 100], "data": n })).collect();
    batch.insert(50, json!({ "topic": other, "data": "not asked for" }));
    batch.push(json!({ "user": user, "event": "own", "data": 200 }));
    send(&world.plain[2].base(), &json!(batch)).await;
    let mut events = Vec::new();
    for _ in 0..=200 {
        events.push(client.event().await);
    }
    let own = events.iter().position(|event| event.name.as_deref() == Some("own")).unwrap();
    let own = events.remove(own);
    assert_eq!((own.data.as_str(), own.topic), ("200", way.names_topics().then_some(format!("user:{user}"))));
    for event in &events {
        let topic = &topics[event.data.parse::<usize>().unwrap() % 100];
        assert_eq!(event.name.as_ref(), Some(topic));
        assert_eq!(event.topic.as_ref(), way.names_topics().then_some(topic));
    }
    // A batch promises order to each topic alone.
    let data: Vec<String> = events.into_iter().map(|event| event.data).collect();
    assert_whole(&data, 200, 0..100, 100);
}

async fn memberships_come_and_go(way: Way) {
    let world = World::shared().await;
    let (bases, user) = (world.bases(way), somebody("bob"));
    let rooms: Vec<String> = (0..10).map(|_| unique("room")).collect();
    let elsewhere = &world.plain[2];
    let member = |room: &str| elsewhere.url(&format!("/v1/users/{user}/topics/{room}"));
    let ask = Ask::as_user::<&str>(&user, &[]);
    let mut client = Client::open(way, &bases, &ask).await;
    for (n, room) in rooms.iter().enumerate() {
        manage(Method::PUT, &member(room)).await;
        publish(&elsewhere.base(), room, n).await;
        assert_eq!(client.data(1).await, [n.to_string()], "an event right after the answer");
    }
    manage(Method::DELETE, &member(&rooms[3])).await;
    publish(&elsewhere.base(), &rooms[3], "no longer").await;
    publish(&elsewhere.base(), &rooms[4], "still").await;
    assert_eq!(client.data(1).await, ["still"]);
    // What changes while the client is away counts when it is back.
    let cursor = client.leave();
    manage(Method::PUT, &member(&rooms[3])).await;
    manage(Method::DELETE, &member(&rooms[5])).await;
    for room in &rooms[3..6] {
        publish(&elsewhere.base(), room, format!("away {room}")).await;
    }
    let mut client = Client::open(way, &bases[1..], &ask.after(&cursor)).await;
    let mut data = Vec::new();
    while data.last().is_none_or(|last| *last != format!("away {}", rooms[4])) {
        data.extend(client.data(1).await);
    }
    assert!(!data.contains(&format!("away {}", rooms[5])), "{data:?}");
    assert!(data.contains(&format!("away {}", rooms[3])), "{data:?}");
}

async fn a_topic_asked_for_outlives_the_membership(way: Way) {
    let world = World::shared().await;
    let (bases, user, room) = (world.bases(way), somebody("bob"), unique("room"));
    let member = world.plain[2].url(&format!("/v1/users/{user}/topics/{room}"));
    manage(Method::PUT, &member).await;
    let mut client = Client::open(way, &bases, &Ask::as_user(&user, &[&room])).await;
    manage(Method::DELETE, &member).await;
    publish(&bases[1], &room, 1).await;
    assert_eq!(client.data(1).await, ["1"]);
}

/// Each membership begins at once and is complete from then on, while everything else goes on.
async fn memberships_come_while_publishers_run(way: Way) {
    let world = World::shared().await;
    let (user, always) = (somebody("carol"), unique("room"));
    let follower = Follower::start(way, world.bases(way), Ask::as_user(&user, &[&always])).await;
    let publisher = storm(world.all(), &[&always], Duration::from_millis(1));
    let mut count = 0;
    for n in 0..5 {
        let room = unique("room");
        publisher.more(10).await;
        manage(Method::PUT, &world.plain[n % 3].url(&format!("/v1/users/{user}/topics/{room}"))).await;
        for part in 0..10 {
            publish(&world.plain[part % 3].base(), &room, format!("{n}/{part}")).await;
        }
        count += 10;
    }
    let always = publisher.finish().await;
    let tale = follower.wait_data(always + count).await;
    let (rooms, rest): (Vec<_>, Vec<_>) = tale.data.into_iter().partition(|data| data.contains('/'));
    assert_eq!(rest, numbers(0..always));
    let expected: Vec<_> = (0..5).flat_map(|n| (0..10).map(move |part| format!("{n}/{part}"))).collect();
    assert_eq!(rooms, expected);
    assert_eq!(tale.words, [""; 0]);
}
