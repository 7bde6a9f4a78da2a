//! WebSockets whose clients read late or not at all, don't answer, or are gone.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tidegate_testkit::http::{publish, send};
use tidegate_testkit::ws::Close;
use tidegate_testkit::{WebSocket, eventually};

use crate::node::{API_KEY, Node, Setup, token};
use crate::ws::ready;

#[tokio::test]
async fn who_answers_no_ping_is_sent_away_and_who_does_stays() {
    for h2 in [false, true] {
        let hub = tidegate_hub::Options { heartbeat: Duration::from_millis(300), ..Default::default() };
        let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
        let mut silent = ready(&node, "topic=a", h2).await;
        let mut lively = ready(&node, "topic=a", h2).await;
        while lively.pings() < 7 {
            let beat = lively.next_named("tidegate:heartbeat").await;
            assert_eq!(beat.data, "null");
        }
        eventually("the silent one is gone", async || (node.hub.live() == 1).then_some(())).await;
        let (events, close) = silent.rest().await;
        assert_eq!((close, events.len()), (Close::Said(3008, "silent".into()), 4));
        publish(&node.base(), &json!({"topic": "a", "data": "here"})).await;
        assert_eq!(lively.collect_data(1).await, ["here"]);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_nothing() {
    let node = Node::open().await;
    for h2 in [false, true] {
        for _ in 0..3 {
            let mut socket = ready(&node, "topic=a&userId=bob", h2).await;
            // In the midst of a message, and while it is answered.
            socket.send(&json!({"publish": {"topic": "a", "data": 1}})).await;
            drop(socket);
        }
        eventually("all have left", async || (node.hub.live() == 0).then_some(())).await;
    }
    let metrics = node.metrics().await;
    assert!(metrics.contains("tidegate_leaves_total{reason=\"client\"} 6"), "{metrics}");
}

#[tokio::test]
async fn over_h2_nothing_is_left_of_one_that_took_nothing() {
    let hub = tidegate_hub::Options {
        heartbeat: Duration::from_millis(300),
        write_deadline: Duration::from_millis(300),
        ..Default::default()
    };
    let node = Node::start(Setup { hub: Some(hub), ..Setup::default() }).await;
    let url = node.url("/v1/ws?topic=a");
    let mut stuck = WebSocket::builder(&url).h2().receive_buffer(1024).open().await;
    for _ in 0..20 {
        publish(&node.base(), &json!({"topic": "a", "data": "x".repeat(60_000)})).await;
    }
    eventually("it is given up", async || (node.hub.live() == 0).then_some(())).await;
    // The connection goes on: it is the stream that is broken off, with all that waited for it.
    let (events, close) = stuck.rest().await;
    assert!(events.len() <= 1, "{} events came after it was given up", events.len());
    assert!(matches!(close, Close::Cut(_)), "{close:?}");
}

#[tokio::test]
async fn who_reads_late_says_nothing_any_more_when_the_token_has_expired() {
    let node = Node::keyed().await;
    let alice = token("alice", &["a"], &["b"], Duration::from_secs(2));
    let url = node.url(&format!("/v1/ws?topic=a&access_token={alice}"));
    let mut late = WebSocket::builder(&url).h2().receive_buffer(4096).open().await;
    let mut other = WebSocket::open(&node.url(&format!("/v1/ws?access_token={alice}"))).await;
    // More than is made ready for the socket at once, less than the outbox.
    let event = json!({"topic": "a", "data": "x".repeat(9_000)});
    let batch = vec![event; 90];
    let published = send(Method::POST, &node.url("/v1/publish"), Some(API_KEY), Some(&json!(batch))).await;
    assert_eq!(published.status, 200);
    assert_eq!(other.rest().await.1, Close::Said(3000, "token_expired".into()));
    late.send(&json!({"publish": {"topic": "b", "data": 1}})).await;
    let (events, close) = late.rest().await;
    assert_eq!(close, Close::Said(3000, "token_expired".into()));
    assert_eq!(events.len(), 92);
    assert!(events.iter().all(|event| event.event != "tidegate:published"), "it was let publish");
}

#[tokio::test]
async fn topics_to_leave_are_not_more_than_there_can_be() {
    let node = Node::open().await;
    let mut socket = WebSocket::open(&node.url("/v1/ws?topic=a")).await;
    socket.next_named("tidegate:ready").await;
    let names: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
    for (names, event) in [(&names[..1_000], "tidegate:unsubscribed"), (&names, "tidegate:error")] {
        socket.send(&json!({ "unsubscribe": names })).await;
        let answer = socket.next_object().await.unwrap();
        assert_eq!(answer["event"], event, "{answer}");
    }
    assert_eq!(socket.seen().last().unwrap()["data"]["field"], "unsubscribe");
}
