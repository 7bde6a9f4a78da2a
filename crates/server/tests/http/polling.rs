use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tidegate_testkit::http::{Answer, get, publish, send};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{Node, Setup, options, token};

async fn poll(node: &Node, query: impl std::fmt::Display) -> Value {
    let answer = get(&node.url(&format!("/v1/poll?{query}"))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

async fn start(node: &Node, topic: &str) -> String {
    let first = poll(node, format!("topic={topic}")).await;
    assert_eq!(first["events"], json!([]));
    assert_eq!(first["reset"], json!(false));
    first["cursor"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_came_between_two_polls_is_there() {
    let node = Node::open().await;
    let cursor = start(&node, "room:1").await;
    let mut ids = Vec::new();
    for event in [
        json!({ "topic": "room:1", "data": "text" }),
        json!({ "topic": "room:2", "data": "another room's" }),
        json!({ "topic": "room:1", "event": "chat", "data": { "text": "a\nb" } }),
    ] {
        ids.push(publish(&node.base(), &event).await.1["id"].clone());
    }
    let answer = poll(&node, format!("topic=room:1&since={cursor}&timeout=60")).await;
    let mut events = answer["events"].clone();
    for event in events.as_array_mut().unwrap() {
        assert!(event.as_object_mut().unwrap().shift_remove("at").unwrap().is_u64());
    }
    assert_eq!(
        events,
        json!([
            { "id": ids[0], "topic": "room:1", "event": null, "data": "text" },
            { "id": ids[2], "topic": "room:1", "event": "chat", "data": { "text": "a\nb" } },
        ])
    );
    let next = answer["cursor"].as_str().unwrap();
    let waiting = poll(&node, format!("topic=room:1&since={next}&timeout=60"));
    let (answer, ()) = tokio::join!(waiting, async {
        // The poll is known to the hub before anything is published.
        while node.hub.live() == 0 {
            tokio::task::yield_now().await;
        }
        publish(&node.base(), &json!({ "topic": "room:1", "data": "live" })).await;
    });
    assert_eq!(answer["events"][0]["data"], json!("live"));
}

#[tokio::test]
async fn a_poll_waits_no_longer_than_it_may() {
    let mut http = options();
    http.limits.poll_timeout = Duration::from_millis(200);
    let node = Node::start(Setup { http: Some(http), ..Setup::default() }).await;
    let cursor = start(&node, "room:1").await;
    for timeout in ["0", "1000000"] {
        let answer = poll(&node, format!("topic=room:1&since={cursor}&timeout={timeout}")).await;
        assert_eq!(answer, json!({ "cursor": cursor, "events": [], "reset": false }));
    }
    assert!(node.metrics().await.contains(r#"tidegate_connections{transport="poll"} 0"#));
}

#[tokio::test]
async fn who_asks_for_the_head_waits_for_nothing() {
    let node = Node::open().await;
    let cursor = start(&node, "a").await;
    let url = node.url(&format!("/v1/poll?topic=a&since={cursor}&timeout=60"));
    let head = reqwest::Client::new().head(url).timeout(Duration::from_secs(20)).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], "application/json");
}

#[tokio::test]
async fn a_cursor_that_is_worth_nothing_is_told_at_once() {
    let node = Node::open().await;
    publish(&node.base(), &json!({ "topic": "room:1", "data": 1 })).await;
    for wrong in ["nonsense", "000000-1", "%22%5C%0A"] {
        let answer = poll(&node, format!("topic=room:1&since={wrong}&timeout=60")).await;
        assert_eq!(answer["reset"], json!(true), "{answer}");
        let cursor = answer["cursor"].as_str().unwrap();
        let next = poll(&node, format!("topic=room:1&since={cursor}&timeout=0")).await;
        assert_eq!(next["reset"], json!(false), "{next}");
    }
}

#[tokio::test]
async fn a_drain_answers_those_who_wait() {
    let node = Node::open().await;
    let cursor = start(&node, "room:1").await;
    let waiting = poll(&node, format!("topic=room:1&since={cursor}&timeout=60"));
    let (answer, ()) = tokio::join!(waiting, async {
        while node.hub.live() == 0 {
            tokio::task::yield_now().await;
        }
        node.hub.drain(Duration::ZERO);
    });
    assert_eq!(answer, json!({ "cursor": cursor, "events": [], "reset": false }));
    let refused = get(&node.url(&format!("/v1/poll?topic=room:1&since={cursor}"))).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let hub = tidegate_hub::Options { user_connections: 1, ..tidegate_hub::Options::default() };
    let node = Node::start(Setup { keyed: true, hub: Some(hub), ..Setup::default() }).await;
    let ask = async |query: &str, token: Option<&str>| -> Answer {
        send(reqwest::Method::GET, &node.url(&format!("/v1/poll?{query}")), token, None).await
    };
    let alice = token("alice", &["room:1"], &[], Duration::from_secs(60));
    assert_eq!(ask("topic=room:1", None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("topic=room:2", Some(&alice)).await.status, StatusCode::FORBIDDEN);
    let wrong = ask("topic=room:1&timeout=soon", Some(&alice)).await;
    assert_eq!((wrong.status, &wrong.body["field"]), (StatusCode::BAD_REQUEST, &json!("timeout")));
    let own = ask("", Some(&alice)).await;
    let cursor = own.body["cursor"].as_str().unwrap().to_owned();
    let query = format!("since={cursor}&timeout=60");
    let waiting = ask(&query, Some(&alice));
    let (first, ()) = tokio::join!(waiting, async {
        while node.hub.live() == 0 {
            tokio::task::yield_now().await;
        }
        let second = ask(&format!("since={cursor}&timeout=60"), Some(&alice)).await;
        assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS, "{}", second.body);
        let event = json!({ "user": "alice", "data": 1 });
        tidegate_testkit::http::publish_as(&node.base(), crate::node::API_KEY, &event).await;
    });
    assert_eq!(first.body["events"][0]["topic"], json!("user:alice"));
}

/// The answer's framing by hand: what waited outside of hyper must leave the connection as hyper would have.
#[tokio::test]
async fn a_connection_serves_one_poll_after_the_other() {
    let node = Node::open().await;
    let mut cursor = start(&node, "room:1").await;
    let mut client = TcpStream::connect(node.addr()).await.unwrap();
    for n in 0..3 {
        let request = format!(
            "GET /v1/poll?topic=room:1&since={cursor}&timeout=60 HTTP/1.1\r\nhost: {}\r\n\r\n",
            node.addr()
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let head = read_until(&mut client, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "the head comes before the event: {head}");
        publish(&node.base(), &json!({ "topic": "room:1", "data": n })).await;
        let body = read_until(&mut client, "\r\n0\r\n\r\n").await;
        let (length, rest) = body.split_once("\r\n").unwrap();
        let json = rest.strip_suffix("\r\n0\r\n\r\n").unwrap();
        assert_eq!(usize::from_str_radix(length, 16).unwrap(), json.len());
        let answer: Value = serde_json::from_str(json).unwrap();
        assert_eq!(answer["events"][0]["data"], json!(n));
        cursor = answer["cursor"].as_str().unwrap().to_owned();
    }
    // Other requests on the same connection, and its end.
    client.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
}

/// A client may read up to the end of the connection.
#[tokio::test]
async fn a_connection_ends_with_the_poll_that_said_so() {
    let node = Node::open().await;
    let cursor = start(&node, "room:1").await;
    let mut client = TcpStream::connect(node.addr()).await.unwrap();
    let request = format!(
        "GET /v1/poll?topic=room:1&since={cursor}&timeout=60 HTTP/1.1\r\nhost: a\r\nconnection: Close\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.contains("connection: close"), "{head}");
    publish(&node.base(), &json!({ "topic": "room:1", "data": 1 })).await;
    let mut rest = String::new();
    let reading = client.read_to_string(&mut rest);
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("it is closed").unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
}

async fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let byte =
            tokio::time::timeout(Duration::from_secs(10), client.read_u8()).await.expect("nothing comes");
        text.push(byte.unwrap());
    }
    String::from_utf8(text).unwrap()
}
