//! One node without Redis: the same, by what it has in itself.

use serde_json::json;

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
