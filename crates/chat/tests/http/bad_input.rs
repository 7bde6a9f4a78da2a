//! What can't be is said, and which field it is in.

use serde_json::{Value, json};
use tidegate_testkit::http::post;

use crate::world::{World, refused};

#[tokio::test]
async fn fields_are_named() {
    let world = World::open().await;
    let (alice, _) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let long = "x".repeat(101);
    let id = "u".repeat(201);
    for (path, body, field) in [
        ("/api/chat/rooms", json!({}), "name"),
        ("/api/chat/rooms", json!({ "name": "" }), "name"),
        ("/api/chat/rooms", json!({ "name": long }), "name"),
        ("/api/chat/rooms", json!({ "name": "a\nb" }), "name"),
        ("/api/chat/rooms", json!({ "name": "a", "relationType": "" }), "relationType"),
        ("/api/chat/rooms", json!({ "name": "a", "participants": ["b", "a b"] }), "participants[1]"),
        ("/api/chat/rooms", json!({ "name": "a", "participants": [""] }), "participants[0]"),
        ("/api/chat/rooms", json!({ "name": "a", "participants": [id] }), "participants[0]"),
        ("/api/chat/rooms", json!({ "name": "a", "participants": [7] }), "participants[0]"),
        ("/api/chat/rooms", json!({ "name": "a", "participant": [] }), "participant"),
        ("/api/chat/rooms/R/messages", json!({}), "content"),
        ("/api/chat/rooms/R/messages", json!({ "content": " \n" }), "content"),
        ("/api/chat/rooms/R/messages", json!({ "content": "a", "messageType": "SHOUT" }), "messageType"),
        ("/api/chat/rooms/R/participants/a%20b", json!({}), "userId"),
        ("/api/chat/users/a%20b/rooms", json!({}), "userId"),
        ("/api/chat/rooms/a%20b/messages", json!({ "content": "a" }), "roomId"),
        ("/api/chat/rooms/0123456789012345678901234567890123456/read", json!({}), "roomId"),
    ] {
        refused(&alice.post(&path.replace('R', &room), body).await, 400, Some(field));
    }
    for (path, field) in [
        ("/api/chat/rooms/R/messages?limit=0", "limit"),
        ("/api/chat/rooms/R/messages?limit=201", "limit"),
        ("/api/chat/rooms/R/messages?before=x", "before"),
        ("/api/chat/rooms/R/messages?after=0zzzzz-1", "after"),
        ("/api/chat/rooms/R/messages?before=0199c0de-0000-7000-8000-000000000000", "before"),
        ("/api/chat/rooms/R/messages?before=a&after=b", "before"),
        ("/api/chat/rooms/R/subscribe?replay=1001", "replay"),
        ("/api/chat/rooms/R/subscribe?limit=x", "limit"),
        ("/api/chat/stream", "roomId"),
    ] {
        refused(&alice.get(&path.replace('R', &room)).await, 400, Some(field));
    }
    for body in [json!({ "nickname": "" }), json!({ "nickname": long })] {
        refused(&alice.put("/api/chat/users/alice", body).await, 400, Some("nickname"));
    }
    let image = json!({ "profileImage": "x".repeat(3_000) });
    refused(&alice.put("/api/chat/users/alice", image).await, 400, Some("profileImage"));
    for image in ["javascript:alert(1)", "//evil.test/a.png", "data:text/html,x"] {
        let image = json!({ "profileImage": image });
        refused(&alice.put("/api/chat/users/alice", image).await, 400, Some("profileImage"));
    }
    refused(&alice.put("/api/chat/users/alice", json!(["Alice", null])).await, 400, Some(""));
    refused(&alice.get("/api/chat/rooms/nowhere").await, 404, None);
    let big = json!({ "content": "x".repeat(65 << 10) });
    refused(&alice.post(&format!("/api/chat/rooms/{room}/messages"), big).await, 413, Some("content"));
}

#[tokio::test]
async fn somebody_has_to_call() {
    let world = World::open().await;
    for path in ["/api/chat/rooms", "/api/chat/users", "/api/sse/subscribe", "/api/chat/stream?roomId=x"] {
        refused(&tidegate_testkit::http::get(&world.a.url(path)).await, 400, Some("userId"));
    }
    refused(&post(&world.a.url("/api/chat/rooms"), &json!({ "name": "a" })).await, 400, Some("userId"));
}

#[tokio::test]
async fn bounds_are_said() {
    let mut options = tidegate_chat::Options::default();
    options.bounds.participants = 2;
    options.bounds.rooms_made = 1;
    let world = World::start(options, false).await;
    let (alice, _) = world.people();
    let crowd = json!({ "name": "a", "participants": ["b", "c"] });
    refused(&alice.post("/api/chat/rooms", crowd).await, 400, Some("participants"));
    let room = alice.room("ours", &["bob"]).await;
    let seat = format!("/api/chat/rooms/{room}/participants/carol");
    refused(&alice.post(&seat, json!({})).await, 409, None);
    refused(&alice.post("/api/chat/rooms", json!({ "name": "b" })).await, 409, None);
}

/// What others may have put into the stream is none of ours: nobody is shown it, and nobody fails at it.
#[tokio::test]
async fn strange_events_are_passed_over() {
    use tidegate_broker::Publication;
    use tidegate_protocol::{Data, EventName, Topic};
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let good = alice.say(&room, "good").await;
    let foreign: Value = serde_json::from_str(&good.to_string().replace(&room, "elsewhere")).unwrap();
    for (name, data) in [("chat", json!({ "hello": 1 })), ("other", good.clone()), ("chat", foreign)] {
        let publication = Publication {
            topic: Topic::parse(&format!("$chat:{room}")).unwrap(),
            name: EventName::parse(name).ok(),
            data: Data::Json(data.to_string().into()),
            at: 1,
            retention: tidegate_chat::Options::default().messages,
            key: None,
        };
        world.a.broker.publish(vec![publication]).await.pop().unwrap().unwrap();
    }
    let page = bob.get(&format!("/api/chat/rooms/{room}/messages")).await.body;
    assert_eq!(page["messages"], json!([good]));
}
