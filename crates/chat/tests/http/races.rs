//! Several at once, on both nodes.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidegate_protocol::Topic;

use crate::world::World;

/// Cut again and again, back on the other node each time: every message once, in the order in which the history has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_cut_has_every_message_once() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let carol = world.b.person("carol");
    let room = alice.room("ours", &["bob", "carol"]).await;
    let path = format!("/api/chat/rooms/{room}/subscribe?replay=0");
    let stream = bob.open(&path).await;
    let mut last = stream.last_event_id().to_owned();
    drop(stream);
    let sending = async {
        for n in 0..25 {
            let (one, other) = (format!("a{n}"), format!("c{n}"));
            tokio::join!(alice.say(&room, &one), carol.say(&room, &other));
        }
    };
    let reading = async {
        let bobs = [world.a.person("bob"), world.b.person("bob")];
        let mut ids = Vec::new();
        for turn in 0.. {
            if ids.len() == 50 {
                break;
            }
            let mut stream = bobs[turn % 2].stream(&path).last_event_id(&last).open().await;
            for _ in 0..3.min(50 - ids.len()) {
                let event = stream.next_named("chat").await;
                let message: Value = serde_json::from_str(&event.data).unwrap();
                ids.push(message["id"].clone());
                // By either id.
                last = if turn % 3 == 0 { message["id"].as_str().unwrap().into() } else { event.id.unwrap() };
            }
        }
        ids
    };
    let (_, read) = tokio::join!(sending, reading);
    let page = bob.get(&format!("/api/chat/rooms/{room}/messages?limit=200")).await.body;
    let kept: Vec<Value> =
        page["messages"].as_array().unwrap().iter().map(|message| message["id"].clone()).collect();
    assert_eq!(read, kept);
}

/// Whoever changes it at the same time: in the end the streams carry what the store says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_and_going_at_once_ends_well() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    let room = alice.room("ours", &["bob"]).await;
    let path = format!("/api/chat/rooms/{room}/participants/carol");
    let (own, topic) = (Topic::user("carol").unwrap(), Topic::parse(&format!("$chat:{room}")).unwrap());
    for _ in 0..15 {
        let changes = (0..4).map(|n| {
            let (alice, bob, path) = (&alice, &bob, &path);
            async move {
                match n % 2 {
                    0 => bob.post(path, json!({})).await,
                    _ => alice.delete(path).await,
                }
            }
        });
        assert!(join_all(changes).await.iter().all(|answer| answer.status.is_success()));
        let view = alice.get(&format!("/api/chat/rooms/{room}")).await.body;
        let takes_part = view["participants"].as_array().unwrap().contains(&json!("carol"));
        let held = world.b.broker.memberships(&own).await.unwrap().contains(&topic);
        assert_eq!(held, takes_part);
    }
}

/// A stream that is being opened while its user is removed: refused, or ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_slips_through_a_removal() {
    let world = World::open().await;
    let (alice, bob) = world.people();
    for _ in 0..15 {
        let room = alice.room("ours", &["bob"]).await;
        let path = format!("/api/chat/rooms/{room}");
        let opened = bob.stream(&format!("{path}/subscribe")).open();
        let seat = format!("{path}/participants/bob");
        let (mut stream, removed) = tokio::join!(opened, alice.delete(&seat));
        assert_eq!(removed.status, 204);
        if stream.status == 200 {
            let events = stream.rest().await.0;
            assert_eq!(events.last().unwrap().event, "tidegate:closing");
        } else {
            assert_eq!(stream.status, 403);
        }
        alice.delete(&path).await;
    }
}
