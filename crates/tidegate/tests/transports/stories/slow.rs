//! A client that does not read is cut off, and has missed nothing when it is back.

use std::slice;

use serde_json::json;
use tidegate_testkit::{Gateway, http};

use super::numbers;
use crate::client::{Ask, Client, Seen};
use crate::way::Way;
use crate::world::{World, node_for, send, unique};

over_every_transport!(a_slow_client_is_cut_off_and_comes_back);

async fn a_slow_client_is_cut_off_and_comes_back(way: Way) {
    let world = World::shared().await;
    let node = node_for(way).await;
    let topic = unique("room");
    let ask = Ask { buffer: Some(8 * 1024), ..Ask::new(&[&topic]) };
    let mut client = Client::open(way, slice::from_ref(&node.base()), &ask).await;
    // Until the client's buffers, the sockets' and the outbox are full. Long polls have none of them: they are behind, and no more.
    let text = "x".repeat(30 * 1024);
    let mut count = 0;
    while count < 400 && !(way.polls() && count == 80) && !cut_off(&node).await {
        let batch: Vec<_> =
            (count..count + 10).map(|n| json!({"topic": topic, "data": format!("{n} {text}")})).collect();
        send(&world.plain[0].base(), &json!(batch)).await;
        count += 10;
    }
    let mut data = Vec::new();
    let number = |data: String| data.split(' ').next().unwrap().to_owned();
    if !way.polls() {
        assert!(cut_off(&node).await, "not after {count} events");
        loop {
            match client.next().await {
                Seen::Event(event) => data.push(number(event.data)),
                Seen::End(None) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(data.len() < count, "cut off before the end");
    }
    let ask = Ask { buffer: None, ..ask.after(&client.leave()) };
    let mut client = Client::open(way, &world.bases(way), &ask).await;
    while data.len() < count {
        data.push(number(client.event().await.data));
    }
    assert_eq!(data, numbers(0..count));
}

async fn cut_off(node: &Gateway) -> bool {
    let metrics = http::get(&node.admin_url("/metrics")).await.body;
    metrics.as_str().unwrap().contains("tidegate_leaves_total{reason=\"slow_consumer\"} 1")
}
