//! With keys configured: the token decides, whatever else is said.

use serde_json::json;
use tidegate_testkit::http;

use crate::world::{API_KEY, World, contents, next, refused, token};

#[tokio::test]
async fn the_token_says_who_calls() {
    let world = World::start(tidegate_chat::Options::default(), true).await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let said =
        bob.post(&format!("/api/chat/rooms/{room}/messages?userId=alice"), json!({ "content": "hi" })).await;
    assert_eq!(said.body["senderId"], "bob");
    let mut stream = bob.open(&format!("/api/chat/rooms/{room}/subscribe?userId=alice")).await;
    assert_eq!(next(&mut stream, "chat").await, said.body);
    let mallory = world.a.person("mallory");
    refused(&mallory.get(&format!("/api/chat/rooms/{room}?userId=alice")).await, 403, Some("roomId"));
    for path in ["/api/chat/rooms", "/api/chat/users", "/api/sse/subscribe?userId=alice"] {
        refused(&http::get(&world.a.url(path)).await, 401, None);
    }
    refused(&http::get(&world.a.url(&format!("/api/chat/rooms/{room}/subscribe"))).await, 401, None);
    let query = world.a.url(&format!("/api/chat/rooms/{room}?access_token={}", token("alice")));
    assert_eq!(http::get(&query).await.status, 200);
}

#[tokio::test]
async fn a_backend_manages_and_takes_no_part() {
    let world = World::start(tidegate_chat::Options::default(), true).await;
    let (alice, bob) = world.people();
    let backend = world.b.holder(API_KEY);
    let made = backend.post("/api/chat/rooms", json!({ "name": "support", "participants": ["alice"] })).await;
    assert_eq!((made.status.as_u16(), &made.body["createdBy"]), (201, &json!(null)));
    let path = format!("/api/chat/rooms/{}", made.body["id"].as_str().unwrap());
    refused(&backend.post("/api/chat/rooms", json!({ "name": "empty" })).await, 400, Some("participants"));
    assert_eq!(backend.post(&format!("{path}/participants/bob"), json!({})).await.status, 200);
    alice.post(&format!("{path}/messages"), json!({ "content": "help" })).await;
    let page = backend.get(&format!("{path}/messages")).await.body;
    assert_eq!(contents(&page["messages"]), ["bob joined", "help"]);
    let mut stream = backend.open(&format!("{path}/subscribe")).await;
    assert_eq!(next(&mut stream, "chat").await["content"], "bob joined");
    assert_eq!(backend.put("/api/chat/users/bob", json!({ "nickname": "Bob B." })).await.status, 200);
    assert_eq!(backend.get("/api/chat/users").await.body[1]["nickname"], "Bob B.");
    for answer in [
        backend.get("/api/chat/rooms").await,
        backend.post(&format!("{path}/messages"), json!({ "content": "hi" })).await,
        backend.post(&format!("{path}/read"), json!({})).await,
        backend.get("/api/sse/subscribe").await,
        backend.post("/api/chat/users/bob/rooms", json!({})).await,
    ] {
        refused(&answer, 403, None);
    }
    refused(&bob.delete(&path).await, 403, Some("roomId"));
    assert_eq!(backend.delete(&format!("{path}/participants/bob")).await.status, 204);
    assert_eq!(backend.delete(&path).await.status, 204);
}
