use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tidegate_testkit::http::{self, publish};
use tidegate_testkit::{Sse, eventually};

use crate::node::{API_KEY, Node, Setup, token};

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

/// A user's id and a topic are texts. A star in them stands for itself.
#[tokio::test]
async fn a_star_in_a_name_is_no_pattern() {
    let node = Node::keyed().await;
    for sub in ["a:*", "**", "*"] {
        let token = token(sub, &[], &[], Duration::from_secs(60));
        let own = sub.replace('*', "%2A");
        for (path, status) in [
            (format!("/v1/events?topic=user:{own}"), 200),
            ("/v1/events?topic=user:a:b".into(), 403),
            ("/v1/events?topic=user:bob".into(), 403),
            (format!("/v1/users/{own}/topics"), 200),
            ("/v1/users/a:b/topics".into(), 403),
            ("/v1/topics/user:a:b/events".into(), 403),
        ] {
            let answer =
                reqwest::Client::new().get(node.url(&path)).bearer_auth(&token).send().await.unwrap();
            assert_eq!(answer.status(), status, "{sub}: {path}");
        }
        let url = node.url(&format!("/v1/users/{own}/topics/room:*"));
        let member = http::send(Method::PUT, &url, Some(API_KEY), None);
        assert_eq!(member.await.status, 200);
        let mut stream = Sse::builder(&node.url("/v1/events")).bearer(&token).open().await;
        let ready = stream.next_named("tidegate:ready").await.data;
        assert!(ready.contains(&format!(r#""topics":["user:{sub}","room:*"]"#)), "{ready}");
        for (topic, data) in [("room:1", "not a member"), ("user:a:b", "of another"), ("room:*", "a member")]
        {
            let event = json!({ "topic": topic, "data": data });
            http::send(Method::POST, &node.url("/v1/publish"), Some(API_KEY), Some(&event)).await;
        }
        assert_eq!(stream.collect_data(1).await, ["a member"]);
    }
}

#[tokio::test]
async fn one_membership_too_many_is_refused() {
    let node = Node::start(Setup { memberships: Some(2), ..Setup::default() }).await;
    let put = async |topic: &str| http::put(&node.url(&format!("/v1/users/bob/topics/{topic}"))).await;
    for topic in ["room:1", "room:2", "room:1"] {
        assert_eq!(put(topic).await.status, 200);
    }
    let refused = put("room:3").await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert_eq!(refused.body["type"], "urn:tidegate:problem:membership-limit");
    assert_eq!(
        (&refused.body["field"], &refused.body["limit"]),
        (&json!("topic"), &json!("limits.memberships"))
    );
    assert!(refused.body["detail"].as_str().unwrap().contains("limits.memberships"), "{}", refused.body);
    assert!(node.metrics().await.contains("tidegate_memberships_refused_total 1"));
    assert_eq!(http::put(&node.url("/v1/users/eve/topics/room:3")).await.status, 200);
    assert_eq!(http::delete(&node.url("/v1/users/bob/topics/room:1")).await.status, 200);
    assert_eq!(put("room:3").await.status, 200);
    let list = http::get(&node.url("/v1/users/bob/topics")).await;
    assert_eq!(list.body["topics"], json!(["room:2", "room:3"]));
}
