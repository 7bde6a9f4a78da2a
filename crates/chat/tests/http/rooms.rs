//! Making, listing and forgetting rooms.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{World, next, refused};

#[tokio::test]
async fn a_room_from_its_making_to_its_end() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let mut news = bob.news().await;
    let wish =
        json!({ "name": "점심", "participants": ["bob", "carol", "bob", "alice"], "relationType": "SIGNAL" });
    let made = alice.post("/api/chat/rooms", wish).await;
    assert_eq!(made.status, 201);
    let room = made.body;
    assert_eq!(room["participants"], json!(["alice", "bob", "carol"]));
    assert_eq!((&room["name"], &room["relationType"]), (&json!("점심"), &json!("SIGNAL")));
    assert_eq!((&room["lastMessage"], &room["unreadCount"]), (&Value::Null, &json!(0)));
    assert_eq!((&room["direct"], &room["createdBy"]), (&json!(false), &json!("alice")));
    let id = room["id"].as_str().unwrap();
    let path = format!("/api/chat/rooms/{id}");
    assert_eq!(bob.get(&path).await.body, room);
    assert_eq!(bob.get("/api/chat/rooms").await.body, json!([room]));
    let update = next(&mut news, "chat-room-update").await;
    assert_eq!((&update["chatRoomId"], &update["lastMessage"]), (&json!(id), &Value::Null));

    refused(&bob.delete(&path).await, 403, Some("roomId"));
    let mut stream = bob.open(&format!("{path}/subscribe")).await;
    alice.say(id, "bye").await;
    next(&mut news, "nav-new-message").await;
    assert_eq!(alice.delete(&path).await.status, 204);
    assert_eq!(next(&mut news, "chat-room-removed").await, json!({ "chatRoomId": id }));
    next(&mut news, "nav-no-any-new-message").await;
    assert!(stream.rest().await.0.iter().any(|event| event.event == "tidegate:closing"));
    assert_eq!(bob.stream(&format!("{path}/subscribe")).open().await.status, 404);
    refused(&alice.get(&path).await, 404, None);
    refused(&alice.delete(&path).await, 404, None);
    assert_eq!(bob.get("/api/chat/rooms").await.body, json!([]));
    assert_eq!(alice.post(&format!("{path}/messages"), json!({ "content": "?" })).await.status, 404);
}

#[tokio::test]
async fn rooms_are_listed_by_what_happened_last() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let first = alice.room("first", &["bob"]).await;
    let second = alice.room("second", &["bob"]).await;
    let message = alice.say(&first, "hello").await;
    let list = bob.get("/api/chat/rooms").await.body;
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|room| room["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&first, &second]);
    assert_eq!((&list[0]["lastMessage"], &list[0]["unreadCount"]), (&message, &json!(1)));
    assert_eq!(alice.get("/api/chat/rooms").await.body[0]["unreadCount"], 0);
}

#[tokio::test]
async fn a_pair_has_one_room_whoever_asks_where() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let asked = (0..20).map(|n| {
        let (alice, bob) = (&alice, &bob);
        async move {
            match n % 2 {
                0 => alice.post("/api/chat/users/bob/rooms", json!({})).await,
                _ => bob.post("/api/chat/users/alice/rooms", json!({})).await,
            }
        }
    });
    let answers = join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| answer.status == 201 || answer.status == 200));
    let id = &answers[0].body["id"];
    assert!(answers.iter().all(|answer| &answer.body["id"] == id && answer.body["direct"] == true));
    let list = bob.get("/api/chat/rooms").await.body;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["relationType"], "DIRECT");

    refused(&alice.post("/api/chat/users/alice/rooms", json!({})).await, 400, Some("userId"));
    // Either may end it, and then there can be another.
    let path = format!("/api/chat/rooms/{}", id.as_str().unwrap());
    assert_eq!(bob.delete(&path).await.status, 204);
    let again = alice.post("/api/chat/users/bob/rooms?relationType=MATCHING", json!({})).await;
    assert_eq!((again.status.as_u16(), &again.body["relationType"]), (201, &json!("MATCHING")));
}

#[tokio::test]
async fn who_takes_no_part_is_kept_out_of_everything() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let mallory = world.b.person("mallory");
    let room = alice.room("ours", &["bob"]).await;
    let message = bob.say(&room, "secret").await;
    let path = format!("/api/chat/rooms/{room}");
    let messages = format!("{path}/messages?before={}", message["id"].as_str().unwrap());
    let polls = format!("/long-polling/chat-rooms/{room}/messages");
    for answer in [
        mallory.get(&path).await,
        mallory.get(&messages).await,
        mallory.get(&polls).await,
        mallory.get(&format!("{path}/subscribe")).await,
        mallory.get(&format!("/api/chat/stream?roomId={room}")).await,
        mallory.get(&format!("/sse/chat-rooms/{room}/messages")).await,
        mallory.post(&format!("{path}/messages"), json!({ "content": "hi" })).await,
        mallory.post(&format!("{path}/read"), json!({})).await,
        mallory.post(&format!("{path}/participants/mallory"), json!({})).await,
        mallory.delete(&format!("{path}/participants/bob")).await,
        mallory.delete(&path).await,
    ] {
        refused(&answer, 403, Some("roomId"));
    }
    // Nor past these rules.
    let topic = format!("$chat:{room}");
    for answer in [
        mallory.get(&format!("/v1/topics/{topic}/events")).await,
        mallory.get(&format!("/v1/events?topic={topic}")).await,
        mallory.post("/v1/publish", json!({ "topic": topic, "event": "chat", "data": message })).await,
    ] {
        assert_eq!(answer.status, 403, "{}", answer.body);
    }
}

/// Who could not receive a room does not take part in it.
#[tokio::test]
async fn who_has_too_many_memberships_gets_no_further_room() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("first", &["bob"]).await;
    let other = alice.room("other", &[]).await;
    let bobs = tidegate_protocol::Topic::user("bob").unwrap();
    let fill = (1..tidegate_broker::MEMBERSHIPS).map(|n| {
        let topic = tidegate_protocol::Topic::parse(&format!("room:{n}")).unwrap();
        let (broker, bobs) = (std::sync::Arc::clone(&world.a.broker), bobs.clone());
        async move { broker.set_membership(&bobs, &topic, true).await }
    });
    futures_util::future::try_join_all(fill).await.unwrap();
    for (path, body) in [
        ("/api/chat/rooms".to_owned(), json!({ "name": "another", "participants": ["bob", "carol"] })),
        (format!("/api/chat/rooms/{other}/participants/bob"), json!({})),
        ("/api/chat/users/bob/rooms".to_owned(), json!({})),
    ] {
        let answer = alice.post(&path, body).await;
        refused(&answer, 409, Some("topic"));
        assert_eq!(
            (&answer.body["type"], &answer.body["userId"]),
            (&json!("urn:tidegate:problem:membership-limit"), &json!("bob"))
        );
    }
    let ids = |rooms: &Value| -> Vec<String> {
        rooms.as_array().unwrap().iter().map(|room| room["id"].as_str().unwrap().into()).collect()
    };
    assert_eq!(ids(&bob.get("/api/chat/rooms").await.body), std::slice::from_ref(&room));
    assert_eq!(ids(&alice.get("/api/chat/rooms").await.body).len(), 2);
    let mut news = bob.news().await;
    alice.say(&room, "as before").await;
    assert_eq!(next(&mut news, "chat").await["content"], "as before");
}
