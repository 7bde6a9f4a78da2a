//! Topics with a `/` in their names, which a proxy that decodes paths would break: they can be
//! named in the query.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidegate_testkit::http::{self, publish, publish_as, send};
use tidegate_testkit::{Nginx, Sse};

use crate::node::{API_KEY, Node, token};

const TOPIC: &str = "https://example.com/books/1?a=%2F&b=é";

/// `path` with `value` as the topic in its query.
fn named(path: &str, value: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("topic", value).finish();
    format!("{path}?{query}")
}

#[tokio::test]
async fn a_proxy_that_decodes_paths_leaves_the_query_alone() {
    let node = Node::open().await;
    // As people put something under a path of a site: nginx decodes what it passes on.
    let site = format!(
        "server {{ listen 127.0.0.1:@PORT@; location /live/ {{ proxy_pass {}/; proxy_buffering off; \
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host; }} }}",
        node.base()
    );
    let nginx = Nginx::start(&site).await;
    let base = nginx.url("/live");
    for n in 0..3 {
        assert_eq!(publish(&base, &json!({"topic": TOPIC, "data": n})).await.0, 200);
    }
    let url = named(&format!("{base}/v1/topic/events"), TOPIC);
    let page = http::get(&format!("{url}&limit=2")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let data: Vec<&Value> =
        page.body["events"].as_array().unwrap().iter().map(|event| &event["data"]).collect();
    assert_eq!((&page.body["topic"], data), (&json!(TOPIC), vec![&json!(1), &json!(2)]));
    assert_eq!(http::delete(&url).await.status, 204);
    assert_eq!(http::get(&url).await.body["events"], json!([]));

    let url = named(&format!("{base}/v1/users/bob/topic"), TOPIC);
    let joined = http::put(&url).await;
    assert_eq!(joined.body, json!({"user": "bob", "topic": TOPIC, "member": true, "changed": true}));
    let mut bob = Sse::open(&format!("{base}/v1/events?userId=bob")).await;
    bob.next_named("tidegate:ready").await;
    publish(&base, &json!({"topic": TOPIC, "data": "for members"})).await;
    assert_eq!(bob.collect_data(1).await, ["for members"]);
    assert_eq!(http::delete(&url).await.body["changed"], true);
    assert_eq!(http::get(&format!("{base}/v1/users/bob/topics")).await.body["topics"], json!([]));
}

#[tokio::test]
async fn the_query_names_exactly_one_topic() {
    let node = Node::open().await;
    for (method, path) in [
        (Method::GET, "/v1/topic/events"),
        (Method::DELETE, "/v1/topic/events"),
        (Method::PUT, "/v1/users/bob/topic"),
        (Method::DELETE, "/v1/users/bob/topic"),
    ] {
        for query in ["", "?topic=", "?topic=a&topic=b", "?topic=a%20b", "?topic=%ff"] {
            let answer = send(method.clone(), &node.url(&format!("{path}{query}")), None, None).await;
            let said = (answer.status.as_u16(), &answer.body["field"]);
            assert_eq!(said, (400, &json!("topic")), "{method} {path}{query}");
        }
    }
}

#[tokio::test]
async fn the_same_is_allowed_as_by_the_path() {
    let node = Node::keyed().await;
    publish_as(&node.base(), API_KEY, &json!({"topic": "room:1", "data": 1})).await;
    let alice = token("alice", &["room:*"], &[], Duration::from_secs(3600));
    let stranger = send(Method::DELETE, &node.url("/v1/topic/events"), None, None).await;
    assert_eq!(stranger.status, 401, "who asks comes before what is asked");
    for topic in ["room:1", "news"] {
        let ask = async |method, path: String| send(method, &node.url(&path), Some(&alice), None).await;
        for method in [Method::GET, Method::DELETE] {
            let by_path = ask(method.clone(), format!("/v1/topics/{topic}/events")).await;
            let by_query = ask(method, named("/v1/topic/events", topic)).await;
            assert_eq!((by_path.status, by_path.body), (by_query.status, by_query.body));
        }
        for method in [Method::PUT, Method::DELETE] {
            assert_eq!(ask(method, named("/v1/users/alice/topic", topic)).await.status, 403);
        }
    }
}
