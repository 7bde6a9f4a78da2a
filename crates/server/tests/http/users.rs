use serde_json::json;
use tidegate_testkit::http::{self, publish};
use tidegate_testkit::{Sse, eventually};

use crate::node::{Node, Setup};

#[tokio::test]
async fn a_membership_changes_open_streams_at_once() {
    let node = Node::open().await;
    let mut bob = Sse::open(&node.url("/v1/events?userId=bob")).await;
    let ready = bob.next_named("tidegate:ready").await;
    assert!(
        ready.data.contains(r#""user":"bob""#) && ready.data.contains(r#""topics":["user:bob"]"#),
        "{ready:?}"
    );
    let url = node.url("/v1/users/bob/topics/room:9");
    for round in 0..50 {
        let answer = http::put(&url).await;
        assert_eq!((answer.status.as_u16(), &answer.body["changed"]), (200, &json!(true)), "{}", answer.body);
        publish(&node.base(), &json!({"topic": "room:9", "data": round})).await;
        assert_eq!(bob.collect_data(1).await, [round.to_string()], "published right after the answer");
        assert_eq!(http::delete(&url).await.body["changed"], true);
        publish(&node.base(), &json!({"topic": "room:9", "data": "not for bob"})).await;
        publish(&node.base(), &json!({"user": "bob", "data": "mark"})).await;
        assert_eq!(bob.collect_data(1).await, ["mark"]);
    }
    http::put(&url).await;
    let list = http::get(&node.url("/v1/users/bob/topics")).await;
    assert_eq!(list.body, json!({"user": "bob", "topics": ["room:9"]}));
    let mut again = Sse::open(&node.url("/v1/events?userId=bob")).await;
    assert!(again.next_named("tidegate:ready").await.data.contains("room:9"));
}

#[tokio::test]
async fn a_topic_asked_for_outlives_the_membership() {
    let node = Node::open().await;
    let url = node.url("/v1/users/bob/topics/room:9");
    http::put(&url).await;
    let mut bob = Sse::open(&node.url("/v1/events?userId=bob&topic=room:9")).await;
    bob.next_named("tidegate:ready").await;
    http::delete(&url).await;
    publish(&node.base(), &json!({"topic": "room:9", "data": 1})).await;
    assert_eq!(bob.collect_data(1).await, ["1"]);
}

#[tokio::test]
async fn a_user_is_disconnected() {
    let node = Node::open().await;
    let mut bob = Sse::open(&node.url("/v1/events?userId=bob")).await;
    let mut eve = Sse::open(&node.url("/v1/events?userId=eve")).await;
    bob.next_named("tidegate:ready").await;
    eve.next_named("tidegate:ready").await;
    assert_eq!(http::post(&node.url("/v1/users/bob/disconnect"), &json!(null)).await.body["nodes"], 1);
    assert_eq!(bob.next_named("tidegate:closing").await.data, r#"{"reason":"disconnected"}"#);
    assert_eq!(bob.next().await, None);
    publish(&node.base(), &json!({"user": "eve", "data": 1})).await;
    assert_eq!(eve.collect_data(1).await, ["1"]);
}

#[tokio::test]
async fn one_stream_too_many_is_told_to_come_back_later() {
    let hub = tidegate_hub::Options { user_connections: 2, ..Default::default() };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let url = node.url("/v1/events?userId=bob");
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = Sse::open(&url).await;
        stream.next_named("tidegate:ready").await;
        streams.push(stream);
    }
    let mut third = Sse::open(&url).await;
    assert_eq!(third.status, 200);
    let closing = third.next_named("tidegate:closing").await;
    assert_eq!(closing.data, r#"{"reason":"user_limit"}"#);
    assert!(closing.retry.is_some());
    assert_eq!(third.next().await, None);
    streams.pop();
    eventually("the place is free again", async || {
        let mut stream = Sse::open(&url).await;
        let event = stream.next().await?;
        (event.event == "tidegate:ready").then_some(())
    })
    .await;
}
