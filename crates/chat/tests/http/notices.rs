//! What users hear wherever they are.

use serde_json::{Value, json};

use crate::world::{World, next};

#[tokio::test]
async fn a_message_is_news_for_everybody_and_reading_ends_it_on_all_devices() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    alice
        .put(
            "/api/chat/users/alice",
            json!({ "nickname": "Alice22231", "profileImage": "https://example.com/profile1.jpg" }),
        )
        .await;
    let room = alice.post("/api/chat/users/bob/rooms?relationType=SIGNAL", json!({})).await.body;
    let id = room["id"].as_str().unwrap();
    let path = format!("/api/chat/rooms/{id}");
    let mut phone = bob.news().await;
    let mut desk = world.a.person("bob").news().await;
    let mut own = alice.news().await;
    let message = alice.say(id, "SSE 테스트14").await;
    let expected = json!({
        "chatRoomId": id,
        "partnerNickname": "Alice22231",
        "partnerProfileImage": "https://example.com/profile1.jpg",
        "lastMessage": "SSE 테스트14",
        "lastMessageTime": message["createdAt"],
        "relationType": "SIGNAL",
        "isRead": false,
    });
    for device in [&mut phone, &mut desk] {
        assert_eq!(next(device, "chat-room-update").await, expected);
        assert_eq!(next(device, "nav-new-message").await, json!({}));
    }
    let update = next(&mut own, "chat-room-update").await;
    assert_eq!((&update["partnerNickname"], &update["isRead"]), (&json!("bob"), &json!(true)));

    let read = bob.post(&format!("{path}/read"), json!({})).await;
    assert_eq!((read.status.as_u16(), read.body), (200, json!({ "roomId": id, "unreadCount": 0 })));
    for device in [&mut phone, &mut desk] {
        let update = next(device, "chat-room-update").await;
        assert_eq!((&update["isRead"], &update["lastMessage"]), (&json!(true), &json!("SSE 테스트14")));
        assert_eq!(next(device, "nav-no-any-new-message").await, json!({}));
    }
    assert_eq!(bob.get(&path).await.body["unreadCount"], 0);
    bob.say(id, "answer").await;
    loop {
        let event = own.next().await.unwrap();
        if event.event == "nav-new-message" {
            break;
        }
        assert!(event.event != "nav-no-any-new-message", "she has read nothing");
    }
}

#[tokio::test]
async fn the_dot_stays_while_another_room_has_news() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let (one, two) = (alice.room("one", &["bob"]).await, alice.room("two", &["bob"]).await);
    alice.say(&one, "1").await;
    alice.say(&two, "2").await;
    let mut news = bob.news().await;
    // By reading, and by answering.
    bob.post(&format!("/api/chat/rooms/{one}/read"), json!({})).await;
    bob.say(&two, "answer").await;
    let mut heard = Vec::new();
    loop {
        let event = news.next().await.unwrap();
        if event.event == "nav-no-any-new-message" {
            break;
        }
        if event.event == "chat-room-update" {
            let update: Value = serde_json::from_str(&event.data).unwrap();
            heard.push((update["partnerNickname"].clone(), update["isRead"].clone()));
        }
    }
    assert_eq!(heard, [(json!("one"), json!(true)), (json!("two"), json!(true))]);
}

#[tokio::test]
async fn who_has_it_open_may_read_before_it_is_noted() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let path = format!("/api/chat/rooms/{room}");
    let mut stream = bob.open(&format!("{path}/subscribe")).await;
    let mut news = bob.news().await;
    let sending = async {
        for n in 0..20 {
            alice.say(&room, &n.to_string()).await;
        }
    };
    let reading = async {
        for _ in 0..20 {
            next(&mut stream, "chat").await;
            bob.post(&format!("{path}/read"), json!({})).await;
        }
    };
    tokio::join!(sending, reading);
    assert_eq!(bob.get(&path).await.body["unreadCount"], 0);
    // Nor is the last word that he has something to read.
    alice.post("/v1/publish", json!({ "user": "bob", "event": "end", "data": 1 })).await;
    let (mut dot, mut read) = (true, false);
    loop {
        let event = news.next().await.unwrap();
        match event.event.as_str() {
            "nav-new-message" => dot = true,
            "nav-no-any-new-message" => dot = false,
            "chat-room-update" => read = event.data.contains(r#""isRead":true"#),
            "end" => break,
            _ => {}
        }
    }
    assert!(!dot && read);
}
