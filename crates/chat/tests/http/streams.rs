//! Streams of a room, and a user's own.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::Sse;

use crate::world::{World, next};

async fn chats(stream: &mut Sse, count: usize) -> Vec<String> {
    let mut contents = Vec::new();
    for _ in 0..count {
        contents.push(next(stream, "chat").await["content"].as_str().unwrap().to_owned());
    }
    contents
}

#[tokio::test]
async fn history_and_then_live_on_every_path() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let (room, other) = (alice.room("ours", &["bob"]).await, alice.room("other", &["bob"]).await);
    for n in 0..3 {
        alice.say(&room, &format!("old {n}")).await;
    }
    let paths = [
        format!("/api/chat/rooms/{room}/subscribe"),
        format!("/api/chat/stream?roomId={room}"),
        format!("/sse/chat-rooms/{room}/messages"),
    ];
    let mut streams = Vec::new();
    for path in &paths {
        let mut stream = bob.open(path).await;
        assert_eq!(stream.header("content-type"), Some("text/event-stream"));
        assert_eq!(chats(&mut stream, 3).await, ["old 0", "old 1", "old 2"], "{path}");
        streams.push(stream);
    }
    alice.say(&other, "elsewhere").await;
    let live = alice.say(&room, "live").await;
    for stream in &mut streams {
        let event = stream.next_named("chat").await;
        assert_eq!(serde_json::from_str::<Value>(&event.data).unwrap(), live);
        assert!(event.id.is_some());
        assert!(!stream.seen().iter().any(|block| block.event.as_deref() == Some("chat-room-update")));
    }
    let mut short = bob.open(&format!("{}?replay=1", paths[0])).await;
    assert_eq!(chats(&mut short, 1).await, ["live"]);
}

#[tokio::test]
async fn a_room_goes_on_at_the_other_node() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let path = format!("/api/chat/rooms/{room}/subscribe");
    let mut stream = bob.open(&path).await;
    alice.say(&room, "one").await;
    let message = next(&mut stream, "chat").await;
    let event_id = stream.last_event_id().to_owned();
    drop(stream);
    alice.say(&room, "two").await;
    alice.say(&room, "three").await;
    let bob = world.a.person("bob");
    for id in [&*event_id, message["id"].as_str().unwrap()] {
        let mut stream = bob.stream(&path).last_event_id(id).open().await;
        assert_eq!(chats(&mut stream, 2).await, ["two", "three"], "after {id}");
        let mut stream = bob.open(&format!("{path}?last_event_id={id}")).await;
        assert_eq!(chats(&mut stream, 2).await, ["two", "three"], "after {id}");
    }
    let unknown = "0199c0de-0000-7000-8000-000000000000";
    for id in [unknown, "no id at all"] {
        let mut stream = bob.stream(&path).last_event_id(id).open().await;
        stream.next_named("tidegate:reset").await;
        let said = alice.say(&room, "after the reset").await;
        assert_eq!(next(&mut stream, "chat").await, said);
    }
}

#[tokio::test]
async fn streams_greet_and_beat_as_their_clients_expect() {
    let options = tidegate_chat::Options {
        room_heartbeat: Duration::from_millis(200),
        user_heartbeat: Duration::from_millis(200),
        ..Default::default()
    };
    let world = World::start(options, false).await;
    let (alice, _) = world.people();
    let room = alice.room("ours", &[]).await;
    let mut own = alice.news().await;
    let ping = own.next_block().await.unwrap();
    assert_eq!((ping.event.as_deref(), ping.data.as_deref()), (Some("ping"), Some("connect success")));
    let beat = own.next_named("heartbeat").await;
    assert_eq!((beat.data.as_str(), beat.id), ("heartbeat", None));
    let mut stream = alice.open(&format!("/api/chat/stream?roomId={room}")).await;
    let beat = stream.next_block().await.unwrap();
    assert_eq!((beat.event.as_deref(), beat.id), (Some("hb"), None));
}

#[tokio::test]
async fn streams_end_after_their_time() {
    let options = tidegate_chat::Options {
        user_timeout: Duration::from_millis(300),
        room_timeout: Duration::from_millis(300),
        ..Default::default()
    };
    let world = World::start(options, false).await;
    let (alice, _) = world.people();
    let room = alice.room("ours", &[]).await;
    let mut streams = [alice.news().await, alice.open(&format!("/api/chat/stream?roomId={room}")).await];
    for stream in &mut streams {
        let events = stream.rest().await.0;
        assert_eq!(events.last().unwrap().event, "tidegate:closing");
    }
}

#[tokio::test]
async fn the_own_stream_has_all_rooms_and_resumes() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let one = alice.room("one", &["bob"]).await;
    let mut news = bob.news().await;
    alice.say(&one, "1").await;
    // Made while the stream is open.
    let two = alice.room("two", &["bob"]).await;
    alice.say(&two, "2").await;
    assert_eq!(chats(&mut news, 2).await, ["1", "2"]);
    let id = news.last_event_id().to_owned();
    drop(news);
    alice.say(&one, "3").await;
    let mut news = world.a.person("bob").stream("/api/sse/subscribe").last_event_id(&id).open().await;
    assert_eq!(chats(&mut news, 1).await, ["3"]);
    // The gateway's own stream of the user is the same.
    let mut plain = bob.open("/v1/events").await;
    alice.say(&one, "4").await;
    assert_eq!(chats(&mut plain, 1).await, ["4"]);
    assert_eq!(next(&mut plain, "nav-new-message").await, json!({}));
}

/// Like every other stream of his, at whatever node.
#[tokio::test]
async fn who_is_disconnected_reads_on_in_no_room() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let mut streams = Vec::new();
    for path in [
        format!("/api/chat/rooms/{room}/subscribe?replay=0"),
        format!("/api/chat/stream?roomId={room}&replay=0"),
        format!("/sse/chat-rooms/{room}/messages?replay=0"),
    ] {
        streams.push(bob.open(&path).await);
    }
    let url = bob.url(&format!("/long-polling/chat-rooms/{room}/messages"));
    let poll = tokio::spawn(async move { tidegate_testkit::http::get(&url).await });
    tidegate_testkit::eventually("the poll waits", async || (world.b.live() == 4).then_some(())).await;
    let mut hers = alice.open(&format!("/api/chat/rooms/{room}/subscribe?replay=0")).await;
    let answer = alice.post("/v1/users/bob/disconnect", json!(null)).await;
    assert_eq!(answer.body["nodes"], 1, "{}", answer.body);
    for stream in &mut streams {
        assert_eq!(stream.next_named("tidegate:closing").await.data, r#"{"reason":"disconnected"}"#);
    }
    assert_eq!(poll.await.unwrap().body, json!([]));
    alice.say(&room, "hers goes on").await;
    assert_eq!(chats(&mut hers, 1).await, ["hers goes on"]);
}
