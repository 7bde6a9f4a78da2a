use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tidegate_testkit::Sse;
use tidegate_testkit::http::{self, publish};

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
