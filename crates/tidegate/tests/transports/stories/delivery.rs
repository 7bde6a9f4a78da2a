//! What is published arrives: everywhere, once, in order, as it is.

use std::pin::pin;
use std::time::Duration;

use serde_json::json;

use super::numbers;
use crate::client::{Ask, Client};
use crate::way::Way;
use crate::world::{World, publish, send, send_text, storm, unique};

over_every_transport!(
    any_node_reaches_every_other,
    subscribed_means_subscribed,
    data_arrives_as_it_was_published,
    what_is_not_kept_is_for_who_is_there,
    joining_while_publishers_run,
);

async fn any_node_reaches_every_other(way: Way) {
    let world = World::shared().await;
    let topic = unique("room");
    let mut clients = Vec::new();
    for base in world.bases(way) {
        clients.push(Client::open(way, &[base], &Ask::new(&[&topic])).await);
    }
    for (n, base) in world.all().iter().cycle().take(25).enumerate() {
        publish(base, &topic, n).await;
    }
    for client in &mut clients {
        assert_eq!(client.data(25).await, numbers(0..25));
    }
    publish(&world.all()[0], &topic, "end").await;
    for client in &mut clients {
        assert_eq!(client.data(1).await, ["end"], "nothing came twice");
    }
}

async fn subscribed_means_subscribed(way: Way) {
    let world = World::shared().await;
    let bases = world.bases(way);
    for n in 0..20 {
        let topic = unique("room");
        let mut client = Client::open(way, &[bases[n % bases.len()].clone()], &Ask::new(&[&topic])).await;
        publish(&world.plain[n % 3].base(), &topic, n).await;
        assert_eq!(client.data(1).await, [n.to_string()]);
    }
}

async fn data_arrives_as_it_was_published(way: Way) {
    let world = World::shared().await;
    let topic = unique("room");
    let mut client = Client::open(way, &world.bases(way), &Ask::new(&[&topic])).await;
    for text in [
        "a line",
        "",
        " ",
        "two\nlines",
        "\n\n",
        "old\r\nand\rolder\n",
        "tab\tquote\" back\\",
        "für 東京 🦀 \u{2028}\u{feff}",
    ] {
        publish(&world.plain[0].base(), &topic, text).await;
        let event = client.event().await;
        assert_eq!((event.data, event.name), (way.text(text), None));
    }
    let json = r#"{"z":[1,-2.50,1e3,12345678901234567890],"a":{"ü":"東"},"n":null,"t":true}"#;
    for (name, data) in [("chat", json), ("ereignis für dich", "0"), ("x", "null"), ("y", "[]")] {
        let body = format!(r#"{{"topic":"{topic}","event":"{name}","data":{data}}}"#);
        let receipt = send_text(&world.plain[1].base(), body).await;
        let event = client.event().await;
        assert_eq!((event.data.as_str(), event.name.as_deref()), (data, Some(name)));
        assert_eq!(event.id.as_deref(), receipt["id"].as_str());
        assert_eq!(event.topic.as_ref(), way.names_topics().then_some(&topic));
        // A poll is also told what its topics' partition has seen since.
        assert!(way.polls() || client.cursor() == receipt["id"], "{client:?}");
    }
    let large = "0123456789abcdef".repeat(60 * 64);
    send(
        &world.plain[2].base(),
        &json!([{"topic": topic, "data": large}, {"topic": topic, "data": "after"}]),
    )
    .await;
    assert!(client.event().await.data == large, "60 KiB in one piece");
    assert_eq!(client.event().await.data, "after");
}

async fn what_is_not_kept_is_for_who_is_there(way: Way) {
    let world = World::shared().await;
    let (bases, fleeting, kept) = (world.bases(way), unique("fleeting"), unique("room"));
    let ask = Ask::new(&[&fleeting, &kept]);
    let mut client = Client::open(way, &bases, &ask).await;
    let cursor = client.cursor().to_owned();
    let event = {
        // Again and again: a long poll may just be on its way.
        let mut seen = pin!(client.event());
        loop {
            let receipt = send(&bases[1], &json!({ "topic": fleeting, "data": "now" })).await;
            assert!(receipt["id"].is_null(), "{receipt}");
            if let Ok(event) = tokio::time::timeout(Duration::from_millis(50), &mut seen).await {
                break event;
            }
        }
    };
    assert_eq!((event.data.as_str(), event.id), ("now", None));
    assert!(way.polls() || client.cursor() == cursor, "it is no place to come back to");
    let cursor = client.leave();
    publish(&bases[1], &fleeting, "missed").await;
    publish(&bases[1], &kept, "kept").await;
    let mut client = Client::open(way, &bases, &ask.after(&cursor)).await;
    assert_eq!(client.data(1).await, ["kept"]);
}

async fn joining_while_publishers_run(way: Way) {
    joining(way, World::shared().await, 1).await;
    joining(way, World::partitioned().await, 4).await;
}

/// Clients that come with nothing, and with a wish for the last few events. From their first event on nothing is missing.
async fn joining(way: Way, world: &World, partitions: usize) {
    let topic = unique("room");
    let bases = world.bases(way);
    let publisher = storm(world.all(), &[&topic], Duration::ZERO);
    publisher.reached(20).await;
    for n in 0..4 {
        let ask = Ask::new(&[&topic]);
        let replayed = n % 2 == 1;
        let ask = if replayed { ask.replay(10) } else { ask };
        let mut client = Client::open(way, &[bases[n % bases.len()].clone()], &ask).await;
        // One may be on its way, and taken before the client was there.
        let (sent, count) = (publisher.sent(), 20);
        let data = client.data(count).await;
        let first: usize = data[0].parse().unwrap();
        assert_eq!(data, numbers(first..first + count), "{partitions} partitions");
        assert!(first <= sent + 1, "from {first}, though {sent} were there when it opened");
        assert!(!replayed || first + 10 <= sent + 1, "from {first}, though {sent} were there");
    }
}
