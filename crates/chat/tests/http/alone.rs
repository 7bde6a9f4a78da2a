//! One node without Redis: the same, by what it has in itself.

use std::time::Instant;

use serde_json::json;
use tidegate_server::Limits;

use crate::world::{Node, contents, next, refused};

#[tokio::test]
async fn a_node_alone_chats_too() {
    let node = Node::alone().await;
    let (alice, bob) = (node.person("alice"), node.person("bob"));
    let mut news = bob.news().await;
    let room = alice.post("/api/chat/users/bob/rooms", json!({})).await.body;
    let path = format!("/api/chat/rooms/{}", room["id"].as_str().unwrap());
    let room = room["id"].as_str().unwrap();
    let first = alice.say(room, "hello").await;
    assert_eq!(next(&mut news, "chat").await, first);
    next(&mut news, "nav-new-message").await;
    let mut stream = bob.open(&format!("{path}/subscribe")).await;
    assert_eq!(next(&mut stream, "chat").await, first);
    let second = bob.say(room, "hello to you").await;
    let later = alice.stream(&format!("{path}/subscribe")).last_event_id(first["id"].as_str().unwrap());
    assert_eq!(next(&mut later.open().await, "chat").await, second);
    let page = alice.get(&format!("{path}/messages?before={}", second["id"].as_str().unwrap())).await.body;
    assert_eq!(contents(&page["messages"]), ["hello"]);
    assert_eq!(alice.get(&path).await.body["unreadCount"], 1);
    assert_eq!(alice.post(&format!("{path}/read"), json!({})).await.body["unreadCount"], 0);
    assert_eq!(alice.delete(&path).await.status, 204);
    stream.next_named("tidegate:closing").await;
    refused(&bob.get(&path).await, 404, None);
}

/// It becomes a notification for each of them.
#[tokio::test]
async fn a_message_costs_an_event_for_each_participant() {
    let limits = Limits { publish_rate: 1, publish_burst: 40, ..Limits::default() };
    let node = Node::alone_with(tidegate_chat::Options::default(), limits).await;
    let (began, alice) = (Instant::now(), node.person("alice"));
    let room = alice.room("ours", &["b", "c", "d"]).await;
    let path = format!("/api/chat/rooms/{room}/messages");
    let mut sent = 0;
    let refusal = loop {
        let answer = alice.post(&path, json!({ "content": "hi" })).await;
        if answer.status != 201 {
            break answer;
        }
        sent += 1;
    };
    refused(&refusal, 429, None);
    assert!(refusal.headers.contains_key("retry-after"));
    // Making the room was four events, too. One a second comes back.
    let most = (40 + began.elapsed().as_secs() + 1) / 4 - 1;
    assert!((9..=most).contains(&sent), "{sent} messages, at most {most}");
    assert_eq!(node.metrics.rate_limited.get(), 1);
    // Others have an allowance of their own.
    assert_eq!(node.person("b").post(&path, json!({ "content": "hi" })).await.status, 201);
}

/// It can't be sent in parts: it takes the whole burst.
#[tokio::test]
async fn a_room_larger_than_the_burst_can_be_used_at_its_rate() {
    let limits = Limits { publish_rate: 3, publish_burst: 3, ..Limits::default() };
    let node = Node::alone_with(tidegate_chat::Options::default(), limits).await;
    let alice = node.person("alice");
    let room = alice.room("ours", &["b", "c", "d", "e"]).await;
    let path = format!("/api/chat/rooms/{room}/messages");
    tidegate_testkit::eventually("the burst has filled", async || {
        let answer = alice.post(&path, json!({ "content": "hi" })).await;
        if answer.status == 201 {
            return Some(());
        }
        refused(&answer, 429, None);
        None
    })
    .await;
}

/// 409 is for one user's limits, 503 for those that all share.
#[tokio::test]
async fn limits_on_rooms_are_said_and_counted() {
    let mut options = tidegate_chat::Options::default();
    options.bounds.rooms_per_user = 1;
    options.bounds.rooms_made = 2;
    options.bounds.rooms = 4;
    options.bounds.users = 1;
    let node = Node::alone_with(options, Limits::default()).await;
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(|user| node.person(user));
    mallory.room("spam", &["alice"]).await;
    mallory.room("more", &[]).await;
    let made = mallory.post("/api/chat/rooms", json!({ "name": "most" })).await;
    let added = bob.post("/api/chat/users/alice/rooms", json!({})).await;
    assert!(added.body["detail"].as_str().unwrap().contains("alice"), "{}", added.body);
    alice.room("mine", &[]).await;
    alice.room("mine, too", &[]).await;
    let total = bob.post("/api/chat/rooms", json!({ "name": "no place" })).await;
    node.person("first").get("/api/chat/users").await;
    let late = json!({ "nickname": "L." });
    let profile = node.person("late").put("/api/chat/users/late", late).await;
    for (answer, status, kind, limit) in [
        (made, 409, "conflict", "chat.rooms_made"),
        (added, 409, "conflict", "chat.rooms"),
        (total, 503, "full", "chat.rooms_total"),
        (profile, 503, "full", "chat.users"),
    ] {
        refused(&answer, status, None);
        assert_eq!(answer.body["type"], format!("urn:tidegate:problem:{kind}"));
        assert_eq!(answer.body["limit"], limit);
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
        assert_eq!(node.metrics.apps_refused.with_label_values(&[limit]).get(), 1);
    }
}
