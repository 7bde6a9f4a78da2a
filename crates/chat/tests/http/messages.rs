//! Sending, and reading pages.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Person, World, contents, next};

async fn page(person: &Person<'_>, room: &str, query: &str) -> Value {
    let answer = person.get(&format!("/api/chat/rooms/{room}/messages?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_message_is_answered_stored_and_sent() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let mut stream = bob.open(&format!("/api/chat/rooms/{room}/subscribe")).await;
    let message = alice.say(&room, "안녕 \"여러분\"\n🌊").await;
    let names: Vec<_> = message.as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "roomId", "senderId", "content", "messageType", "createdAt"]);
    assert_eq!((&message["roomId"], &message["senderId"]), (&json!(room), &json!("alice")));
    assert_eq!(
        (&message["content"], &message["messageType"]),
        (&json!("안녕 \"여러분\"\n🌊"), &json!("MESSAGE"))
    );
    let time = message["createdAt"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert_eq!(next(&mut stream, "chat").await, message);
    assert_eq!(page(&bob, &room, "").await, json!({ "messages": [message], "hasMore": false }));

    let whole = json!({ "content": "", "messageType": "JOIN", "senderId": 7, "roomId": null });
    let joined = alice.post(&format!("/api/chat/rooms/{room}/messages"), whole).await;
    assert_eq!((joined.status.as_u16(), &joined.body["messageType"]), (201, &json!("JOIN")));
    assert_eq!(joined.body["senderId"], "alice");
    assert_eq!(next(&mut stream, "chat").await, joined.body);
}

#[tokio::test]
async fn pages_lead_through_all_of_it_both_ways() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let (room, other) = (alice.room("ours", &["bob"]).await, alice.room("other", &["bob"]).await);
    let mut sent = Vec::new();
    for n in 0..7 {
        sent.push(alice.say(&room, &n.to_string()).await);
        alice.say(&other, "elsewhere").await;
    }
    let id = |n: usize| sent[n]["id"].as_str().unwrap();
    for (query, expected, more) in [
        ("limit=3".into(), vec!["4", "5", "6"], true),
        (format!("before={}&limit=3", id(4)), vec!["1", "2", "3"], true),
        (format!("before={}&limit=3", id(1)), vec!["0"], false),
        (format!("before={}", id(0)), vec![], false),
        (format!("after={}&limit=3", id(2)), vec!["3", "4", "5"], true),
        (format!("after={}", id(4)), vec!["5", "6"], false),
        (format!("after={}", id(6)), vec![], false),
    ] {
        let page = page(&bob, &room, &query).await;
        assert_eq!((contents(&page["messages"]), &page["hasMore"]), (expected, &json!(more)), "{query}");
    }
    // The id of an event says the same as the id of its message.
    let mut stream = bob.open(&format!("/api/chat/rooms/{room}/subscribe?limit=2")).await;
    let event = stream.next_named("chat").await;
    let before = page(&bob, &room, &format!("before={}", event.id.unwrap())).await;
    assert_eq!(contents(&before["messages"]), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn the_same_key_gives_the_same_message() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let mut news = bob.news().await;
    let path = format!("/api/chat/rooms/{room}/messages");
    let send = async |person: &Person<'_>, content: &str| {
        let request = tidegate_testkit::http::client().request(Method::POST, person.url(&path));
        let request = request.header("idempotency-key", "k 1").json(&json!({ "content": content }));
        let answer = request.timeout(Duration::from_secs(5)).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json::<Value>().await.unwrap()
    };
    let first = send(&alice, "once").await;
    assert_eq!(send(&world.b.person("alice"), "once").await, first);
    assert_eq!(send(&alice, "other words").await, first);
    let bobs = send(&bob, "his own").await;
    assert_ne!(bobs["id"], first["id"], "two senders don't meet");
    assert_eq!(page(&bob, &room, "").await["messages"], json!([first, bobs]));
    alice.say(&room, "end").await;
    let mut heard = Vec::new();
    loop {
        let event = news.next().await.unwrap();
        heard.push(event.event.clone());
        if event.event == "chat-room-update" && event.data.contains("\"end\"") {
            break;
        }
    }
    let count = |name: &str| heard.iter().filter(|event| *event == name).count();
    assert_eq!((count("chat"), count("nav-new-message")), (3, 1), "{heard:?}");
}
