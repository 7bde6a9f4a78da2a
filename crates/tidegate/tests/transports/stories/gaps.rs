//! A gap is said, and the stream goes on.

use reqwest::Method;
use serde_json::json;
use tidegate_testkit::{eventually, http};

use super::numbers;
use crate::client::{Ask, Client, Seen};
use crate::way::Way;
use crate::world::{KEY, World, manage, publish, send, unique};

over_every_transport!(
    a_cursor_that_is_worth_nothing,
    a_reset_that_was_lost_on_the_way,
    a_history_that_was_trimmed,
    a_history_that_expired,
);

/// The next thing seen is a reset; a long poll does not say more.
async fn reset(way: Way, client: &mut Client, topics: &[&String], reason: &str) {
    match client.next().await {
        Seen::Reset { .. } if way.polls() => {}
        seen => {
            let topics = topics.iter().map(ToString::to_string).collect();
            assert_eq!(seen, Seen::Reset { topics, reason: reason.into() });
        }
    }
}

async fn a_cursor_that_is_worth_nothing(way: Way) {
    const CURSORS: [(&str, &str); 7] = [
        // As if there were none.
        ("", ""),
        ("not an id", "malformed"),
        ("-", "malformed"),
        ("\u{1}%\"", "malformed"),
        ("%20\u{1f30a}", "malformed"),
        // The partition's letter, then the epoch and the offset.
        ("{partition}zzzzz-1", "epoch"),
        ("{partition}{epoch}-zzzzzz", "unknown"),
    ];
    for world in [World::shared().await, World::partitioned().await] {
        for (cursor, reason) in CURSORS {
            let in_header = !way.polls() && !way.is_websocket() && way != Way::Post;
            // No header, or not one that a client of HTTP/3 would send.
            if in_header && (cursor.contains('\u{1}') || !cursor.is_ascii() && way == Way::H3) {
                continue;
            }
            let (bases, topic) = (world.bases(way), unique("room"));
            // A backend has no topic of its own.
            let ask = Ask { token: KEY.to_owned(), ..Ask::new(&[&topic]) };
            let receipt = send(&bases[0], &json!({"topic": topic, "data": "before"})).await;
            let id = receipt["id"].as_str().unwrap();
            let cursor = cursor.replace("{partition}", &id[..1]).replace("{epoch}", &id[1..6]);
            let mut client = Client::open(way, &bases, &ask.after(&cursor)).await;
            if !reason.is_empty() {
                reset(way, &mut client, &[&topic], reason).await;
            }
            publish(&bases[1], &topic, "live").await;
            assert_eq!(client.data(1).await, ["live"], "after {cursor:?}");
            // It has got a good one.
            let cursor = client.leave();
            publish(&bases[1], &topic, "more").await;
            let mut client = Client::open(way, &bases[1..], &ask.after(&cursor)).await;
            assert_eq!(client.data(1).await, ["more"]);
        }
    }
}

async fn a_reset_that_was_lost_on_the_way(way: Way) {
    let world = World::shared().await;
    for (cursor, reason) in [("rubbish!", "malformed"), ("0zzzzz-5", "epoch")] {
        let (bases, topic) = (world.bases(way), unique("room"));
        let ask = Ask { token: KEY.to_owned(), ..Ask::new(&[&topic]) };
        // It leaves with the place that it was told first, before it has heard of the reset.
        let cursor = Client::open(way, &bases, &ask.after(cursor)).await.leave();
        let mut client = Client::open(way, &bases[1..], &ask.after(&cursor)).await;
        match client.next().await {
            Seen::Reset { .. } => {}
            other => panic!("{other:?} instead of the reset for {reason}"),
        }
        let cursor = client.leave();
        let mut client = Client::open(way, &bases, &ask.after(&cursor)).await;
        publish(&bases[0], &topic, "live").await;
        assert_eq!(client.data(1).await, ["live"], "it is said once");
    }
}

async fn a_history_that_was_trimmed(way: Way) {
    let world = World::shared().await;
    let (bases, small, other) = (world.bases(way), unique("small"), unique("room"));
    let ask = Ask::new(&[&small, &other]);
    let mut client = Client::open(way, &bases, &ask).await;
    publish(&bases[0], &small, "first").await;
    assert_eq!(client.data(1).await, ["first"]);
    let cursor = client.leave();
    publish(&bases[0], &other, "other").await;
    let batch: Vec<_> = (0..400).map(|n| json!({"topic": small, "data": n})).collect();
    send(&bases[0], &json!(batch)).await;
    let mut client = Client::open(way, &bases[1..], &ask.after(&cursor)).await;
    reset(way, &mut client, &[&small], "trimmed").await;
    assert_eq!(client.data(1).await, ["other"], "a topic that has all of its events");
    let first: usize = client.data(1).await[0].parse().unwrap();
    assert!(first > 0 && first <= 390, "{first}");
    assert_eq!(client.data(399 - first).await, numbers(first + 1..400), "what is kept follows");
    publish(&bases[0], &small, "live").await;
    assert_eq!(client.data(1).await, ["live"]);
}

async fn a_history_that_expired(way: Way) {
    let world = World::shared().await;
    let bases = world.bases(way);
    for (topic, by_itself) in [(unique("room"), false), (unique("short"), true)] {
        let ask = Ask::new(&[&topic]);
        // A node that has been listening may still have it at hand: the client comes back to another.
        let mut client = Client::open(way, &bases[..1], &ask).await;
        publish(&bases[0], &topic, "first").await;
        assert_eq!(client.data(1).await, ["first"]);
        let cursor = client.leave();
        publish(&bases[0], &topic, "second").await;
        let history = format!("{}/v1/topics/{topic}/events", bases[0]);
        if by_itself {
            eventually("the history times out", async || {
                let page = manage(Method::GET, &history).await;
                (page.body["events"] == json!([])).then_some(())
            })
            .await;
        } else {
            assert_eq!(http::send(Method::DELETE, &history, Some(KEY), None).await.status, 204);
        }
        let mut client = Client::open(way, &bases[1..], &ask.after(&cursor)).await;
        reset(way, &mut client, &[&topic], "expired").await;
        publish(&bases[0], &topic, "live").await;
        assert_eq!(client.data(1).await, ["live"]);
    }
}
