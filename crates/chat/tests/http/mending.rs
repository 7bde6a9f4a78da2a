//! What a node that died between two steps leaves behind.

use serde_json::json;
use tidegate_protocol::Topic;

use crate::world::{World, contents, next};

#[tokio::test]
async fn memberships_follow_the_store() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let (own, stale) = (Topic::user("bob").unwrap(), Topic::parse("$chat:long-gone").unwrap());
    let topic = Topic::parse(&format!("$chat:{room}")).unwrap();
    world.a.broker.set_membership(&own, &topic, false).await.unwrap();
    world.a.broker.set_membership(&own, &stale, true).await.unwrap();
    let foreign = Topic::parse("news").unwrap();
    world.a.broker.set_membership(&own, &foreign, true).await.unwrap();
    let mut news = bob.news().await;
    let mut held = world.b.broker.memberships(&own).await.unwrap();
    held.sort();
    assert_eq!(held, [topic, foreign]);
    let said = alice.say(&room, "hi").await;
    assert_eq!(next(&mut news, "chat").await, said);
}

#[tokio::test]
async fn a_message_whose_place_was_not_noted_is_found_all_the_same() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(alice.say(&room, &n.to_string()).await);
    }
    world.redis.cli(&["DEL", &format!("tg:chat:messages:{room}")]).await;
    let id = sent[2]["id"].as_str().unwrap();
    let path = format!("/api/chat/rooms/{room}");
    let page = bob.get(&format!("{path}/messages?before={id}")).await.body;
    assert_eq!(contents(&page["messages"]), ["0", "1"]);
    let mut stream = bob.stream(&format!("{path}/subscribe")).last_event_id(id).open().await;
    assert_eq!(next(&mut stream, "chat").await, sent[3]);
}

#[tokio::test]
async fn redis_that_is_away_is_said() {
    let mut world = World::open().await;
    let (alice, _) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let path = format!("/api/chat/rooms/{room}");
    world.redis.stop().await;
    let (alice, _) = world.people();
    for answer in [
        alice.get(&path).await,
        alice.get("/api/chat/rooms").await,
        alice.post(&format!("{path}/messages"), json!({ "content": "?" })).await,
        alice.get(&format!("/long-polling/chat-rooms/{room}/messages")).await,
    ] {
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.headers.contains_key("retry-after"));
    }
    // A browser's EventSource would end for good at anything but 200.
    let mut stream = alice.stream(&format!("{path}/subscribe")).open().await;
    assert_eq!(stream.status, 200);
    stream.next_named("tidegate:closing").await;
}
