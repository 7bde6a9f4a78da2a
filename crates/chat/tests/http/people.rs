//! Participants and users.

use serde_json::json;
use tidegate_testkit::End;

use crate::world::{World, contents, next, refused};

#[tokio::test]
async fn a_participant_comes_and_goes() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let carol = world.b.person("carol");
    let room = alice.room("ours", &["bob"]).await;
    let path = format!("/api/chat/rooms/{room}");
    let seat = format!("{path}/participants/carol");
    alice.say(&room, "before").await;
    let mut news = carol.news().await;
    carol.put("/api/chat/users/carol", json!({ "nickname": "Carol C." })).await;

    let added = bob.post(&seat, json!({})).await;
    assert_eq!(added.status, 200);
    assert_eq!(added.body["participants"], json!(["alice", "bob", "carol"]));
    assert_eq!(bob.post(&seat, json!({})).await.body["participants"], added.body["participants"]);
    let join = next(&mut news, "chat").await;
    assert_eq!((&join["messageType"], &join["senderId"]), (&json!("JOIN"), &json!("carol")));
    assert_eq!(join["content"], "Carol C. joined");
    let update = next(&mut news, "chat-room-update").await;
    assert_eq!(update["isRead"], true, "what was said before, and that she came, is not unread");
    assert_eq!(carol.get(&path).await.body["unreadCount"], 0);

    let mut stream = carol.open(&format!("{path}/subscribe?replay=0")).await;
    let mut other_room = carol.open("/v1/events?topic=news").await;
    refused(&bob.delete(&seat).await, 403, Some("userId"));
    assert_eq!(alice.delete(&seat).await.status, 204);
    assert_eq!(alice.delete(&seat).await.status, 204);
    let (events, end) = stream.rest().await;
    assert_eq!((events.last().unwrap().event.as_str(), end), ("tidegate:closing", End::Clean));
    assert_eq!(next(&mut news, "chat-room-removed").await, json!({ "chatRoomId": room }));
    assert_eq!(carol.stream(&format!("{path}/subscribe")).open().await.status, 403);
    bob.say(&room, "gone").await;
    alice.post("/v1/publish", json!({ "topic": "news", "data": "still here" })).await;
    assert_eq!(other_room.next_named("message").await.data, "still here", "her other streams go on");

    let page = bob.get(&format!("{path}/messages")).await.body;
    assert_eq!(contents(&page["messages"]), ["before", "Carol C. joined", "Carol C. left", "gone"]);
    // By oneself, and the last one takes the room along.
    assert_eq!(bob.delete(&format!("{path}/participants/bob")).await.status, 204);
    assert_eq!(alice.delete(&format!("{path}/participants/alice")).await.status, 204);
    refused(&alice.get(&path).await, 404, None);
}

#[tokio::test]
async fn a_room_of_two_keeps_its_two() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.post("/api/chat/users/bob/rooms", json!({})).await.body;
    let path = format!("/api/chat/rooms/{}/participants", room["id"].as_str().unwrap());
    refused(&bob.post(&format!("{path}/carol"), json!({})).await, 409, None);
    refused(&bob.delete(&format!("{path}/bob")).await, 409, None);
    assert_eq!(bob.post(&format!("{path}/alice"), json!({})).await.status, 200);
}

#[tokio::test]
async fn users_say_who_they_are() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    alice.room("ours", &["bob", "carol"]).await;
    let profile = json!({ "nickname": "앨리스", "profileImage": "https://example.com/a.png" });
    let set = alice.put("/api/chat/users/alice", profile).await;
    assert_eq!(set.status, 200);
    let renamed = alice.put("/api/chat/users/alice", json!({ "nickname": "A." })).await.body;
    assert_eq!(
        renamed,
        json!({ "id": "alice", "nickname": "A.", "profileImage": "https://example.com/a.png" })
    );
    world.b.person("zoe").get("/api/chat/rooms").await;
    let bare = |id: &str| json!({ "id": id, "nickname": id, "profileImage": null });
    let users = bob.get("/api/chat/users").await.body;
    assert_eq!(users, json!([renamed, bare("bob"), bare("carol"), bare("zoe")]));
    refused(&bob.put("/api/chat/users/alice", json!({ "nickname": "x" })).await, 403, Some("userId"));
    let cleared = alice.put("/api/chat/users/alice", json!({ "profileImage": "" })).await.body;
    assert_eq!(cleared["profileImage"], json!(null));
}
