//! What a WebSocket's client may not: handshakes that are none, pages of strangers, messages that are wrong, too large or too many, and
//! how it is told.

use std::time::Duration;

use http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};
use tidegate_testkit::http::{client, publish, send};
use tidegate_testkit::ws::{Close, Message, Refused};
use tidegate_testkit::{WebSocket, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{Node, Setup, options, token};
use crate::ws::ready;

const HOUR: Duration = Duration::from_secs(3600);

/// The status with which a handshake is refused; none: it is not.
pub(crate) async fn refused(builder: tidegate_testkit::ws::Builder) -> Option<(u16, Value)> {
    match builder.try_open().await {
        Ok(_) => None,
        Err(Refused::Answered(status, headers, body)) => {
            assert_eq!(headers["content-type"], "application/problem+json", "{status} {body}");
            Some((status.as_u16(), serde_json::from_str(&body).unwrap()))
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_told_so() {
    let node = Node::open().await;
    let ask = |headers: &'static [(&'static str, &'static str)]| {
        let mut request = client().get(node.url("/v1/ws?topic=a"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move { request.send().await.unwrap() }
    };
    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");
    const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
    const UPGRADE: (&str, &str) = ("upgrade", "WebSocket");
    for headers in [&[][..], &[KEY, VERSION, UPGRADE], &[KEY, VERSION, CONNECTION, ("upgrade", "h2c")]] {
        let answer = ask(headers).await;
        assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED, "{headers:?}");
        assert_eq!(answer.headers()["upgrade"], "websocket");
    }
    let answer = ask(&[KEY, ("sec-websocket-version", "8"), CONNECTION, UPGRADE]).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["sec-websocket-version"]),
        (426, &"13".parse().unwrap())
    );
    let answer = ask(&[("sec-websocket-key", "short"), VERSION, CONNECTION, UPGRADE]).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.json::<Value>().await.unwrap()["field"], "Sec-WebSocket-Key");

    let h2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let answer = h2.get(node.url("/v1/ws?topic=a")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(client().post(node.url("/v1/ws")).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn http3_says_where_to_go() {
    let (_node, h3) = Node::h3(Setup::default()).await;
    let answer = h3.send(Method::GET, "/v1/ws?topic=a", &[], None).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body["type"].as_str()),
        (501, Some("urn:tidegate:problem:not-over-h3"))
    );
}

#[tokio::test]
async fn who_may_not_gets_a_status() {
    let hub = tidegate_hub::Options { user_connections: 1, ..Default::default() };
    let node = Node::start(Setup { keyed: true, hub: Some(hub), ..Setup::default() }).await;
    let alice = token("alice", &["room:*"], &[], HOUR);
    for h2 in [false, true] {
        let ask = |query: &str| {
            let builder = WebSocket::builder(&node.url(&format!("/v1/ws?{query}")));
            if h2 { builder.h2() } else { builder }
        };
        let status = async |builder| refused(builder).await.map(|(status, _)| status);
        assert_eq!(status(ask("topic=room:1")).await, Some(401));
        assert_eq!(status(ask("topic=room:1&access_token=rubbish")).await, Some(401));
        assert_eq!(status(ask("topic=news").bearer(&alice)).await, Some(403));
        let (status_code, problem) = refused(ask("topic=a%20b").bearer(&alice)).await.unwrap();
        assert_eq!((status_code, &problem["field"]), (400, &json!("topic")));
        let first = ask(&format!("topic=room:1&access_token={alice}")).open().await;
        assert_eq!(status(ask("topic=room:1").bearer(&alice)).await, Some(429));
        drop(first);
        eventually("the place is free", async || (node.hub.live() == 0).then_some(())).await;
    }
    assert!(node.metrics().await.contains("tidegate_connections_refused_total{reason=\"user_limit\"} 2"));
    node.hub.drain(Duration::ZERO);
    let builder = WebSocket::builder(&node.url("/v1/ws")).bearer(&alice);
    assert_eq!(refused(builder).await.unwrap().0, 503);
}

#[tokio::test]
async fn pages_of_strangers_open_none() {
    let open = Node::open().await;
    let mut http = options();
    http.origins = tidegate_auth::Origins::parse(&["https://*.example.com"]).unwrap();
    let keyed = Node::start(Setup { http: Some(http), keyed: true, ..Setup::default() }).await;
    let alice = token("alice", &["a"], &[], HOUR);
    for h2 in [false, true] {
        let ask = |node: &Node, origin: &str| {
            let builder = WebSocket::builder(&node.url("/v1/ws?topic=a")).header("origin", origin);
            if h2 { builder.h2() } else { builder }
        };
        for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
            let (status, problem) = refused(ask(&open, origin)).await.unwrap();
            assert_eq!((status, &problem["field"]), (403, &json!("Origin")), "{origin}");
            // Not with a token of its own either: it could read no stream.
            assert_eq!(refused(ask(&keyed, origin).bearer(&alice)).await.unwrap().0, 403, "{origin}");
        }
        assert_eq!(refused(ask(&open, "http://localhost:5173")).await, None);
        assert_eq!(refused(ask(&open, &open.base())).await, None);
        let cookie = format!("tidegate_token={alice}");
        assert_eq!(refused(ask(&keyed, "https://a.example.com").header("cookie", &cookie)).await, None);
        assert_eq!(
            refused(ask(&keyed, "https://evilexample.com").header("cookie", &cookie)).await.unwrap().0,
            403
        );
        assert_eq!(refused(ask(&keyed, &keyed.base()).header("cookie", &cookie)).await, None);
        assert_eq!(
            refused(ask(&keyed, "https://evil.example").header("cookie", &cookie)).await.unwrap().0,
            403
        );
    }
}

/// Sends `message` and gives the problem that is answered.
async fn problem(socket: &mut WebSocket, message: Value) -> Value {
    socket.send(&message).await;
    let answer = socket.next_object().await.unwrap();
    assert_eq!(
        (&answer["event"], answer.get("ref")),
        (&json!("tidegate:error"), message.get("ref")),
        "{answer}"
    );
    assert_eq!((&answer["id"], &answer["topic"]), (&Value::Null, &Value::Null));
    answer["data"].clone()
}

#[tokio::test]
async fn what_is_wrong_is_said_and_the_connection_stays() {
    let mut http = options();
    http.topics = 4;
    http.limits.publish_rate = 3;
    let node = Node::start(Setup { http: Some(http), keyed: true, ..Setup::default() }).await;
    let alice = token("alice", &["room:*"], &["room:1"], HOUR);
    let mut socket = ready(&node, &format!("topic=room:1&access_token={alice}"), false).await;
    for (message, status, field) in [
        (json!({"say": "hello", "ref": 1}), 400, "say"),
        (json!({"subscribe": ["room:2", "news"], "ref": "x"}), 403, "subscribe[1]"),
        (json!({"subscribe": ["room:2", "a b"]}), 400, "subscribe[1]"),
        (json!({"subscribe": ["room:2", "room:3", "room:4"]}), 400, "subscribe"),
        (json!({"unsubscribe": [""]}), 400, "unsubscribe[0]"),
        (json!({"publish": {"topic": "room:2", "data": 1}, "ref": 2}), 403, "publish.topic"),
        (json!({"publish": {"topic": "room:1"}}), 400, "publish.data"),
        (json!({"publish": {"topic": "room:1", "data": 1, "tpoic": 1}}), 400, "publish.tpoic"),
        (
            json!({"publish": [{"topic": "room:1", "data": 1}, {"topic": "news", "data": 2}]}),
            403,
            "publish[1].topic",
        ),
        (json!({"publish": {"topic": "room:1", "data": "x".repeat(65_537)}}), 413, "publish.data"),
    ] {
        let text = message.to_string();
        let problem = problem(&mut socket, message).await;
        let text = &text[..text.len().min(100)];
        assert_eq!(
            (&problem["status"], &problem["field"]),
            (&json!(status), &json!(field)),
            "{text}: {problem}"
        );
    }
    socket.send_raw(Message::text("nonsense")).await;
    assert_eq!(socket.next_object_named("tidegate:error").await["data"]["status"], 400);
    // Nothing of it was done, and all of it may still be.
    for n in 0..2 {
        socket.publish(&json!({"topic": "room:1", "data": n})).await;
    }
    let url = node.url("/v1/publish");
    let event = json!({"topic": "room:1", "data": 2});
    assert_eq!(send(Method::POST, &url, Some(&alice), Some(&event)).await.status, 200);
    let refused = loop {
        socket.send(&json!({"publish": {"topic": "room:1", "data": 3}})).await;
        let answer = socket.next_object().await.unwrap();
        if answer["event"] == "tidegate:error" {
            break answer;
        }
    };
    assert_eq!(refused["data"]["type"], "urn:tidegate:problem:rate-limited", "one allowance for both ways");
    assert!(refused["data"]["retry_after"].is_u64());
    socket.subscribe(&["room:2"]).await;
    let metrics = node.metrics().await;
    assert!(metrics.contains("tidegate_ws_messages_total{kind=\"subscribe\"} 4"), "{metrics}");
    assert!(metrics.contains("tidegate_ws_refused_total{reason=\"forbidden\"} 3"), "{metrics}");
}

#[tokio::test]
async fn what_can_not_go_on_is_closed_with_a_code() {
    let node = Node::open().await;
    let large = format!("{{\"publish\":{{\"topic\":\"a\",\"data\":\"{}\"}}}}", "x".repeat(90_000));
    for h2 in [false, true] {
        for (message, code, reason) in
            [(Message::binary(vec![0; 3]), 1003, "binary"), (Message::text(large.clone()), 1009, "too_large")]
        {
            let mut socket = ready(&node, "topic=a", h2).await;
            // The gateway may have closed it before it is sent whole.
            let _ = socket.try_send(message).await;
            assert_eq!(socket.rest().await.1, Close::Said(code, reason.into()));
        }
    }
}

/// A handshake by hand, and what follows at once.
pub(crate) async fn by_hand(node: &Node, frames: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    let head = "GET /v1/ws?topic=a HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(&[head.as_bytes(), frames].concat()).await.unwrap();
    stream
}

/// Everything until the end.
pub(crate) async fn to_the_end(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = tokio::time::timeout(tidegate_testkit::DEADLINE, stream.read_to_end(&mut all)).await;
    read.expect("an end in time").expect("no reset");
    all
}

#[tokio::test]
async fn frames_that_break_the_protocol() {
    let node = Node::open().await;
    // Each masked with zeros, where it is masked at all.
    for (frames, code) in [
        (&b"\x81\x02{}"[..], 1002),
        (b"\xc1\x82\0\0\0\0{}", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x81\x82\0\0\0\0\xff\xff", 1007),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),
    ] {
        let all = to_the_end(by_hand(&node, frames).await).await;
        let text = String::from_utf8_lossy(&all);
        assert!(text.starts_with("HTTP/1.1 101 ") && text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
        let code = u16::to_be_bytes(code);
        assert!(all.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == code), "{frames:?}: {text}");
    }
    eventually("all are gone", async || (node.hub.live() == 0).then_some(())).await;
}

#[tokio::test]
async fn what_comes_with_the_handshake_and_in_pieces_is_heard() {
    let node = Node::open().await;
    let message = br#"{"subscribe":["b"]}"#;
    // In two fragments with a ping between, byte by byte, and a goodbye.
    let mut rest = vec![0x01, 0x80 | 9, 0, 0, 0, 0];
    rest.extend_from_slice(&message[..9]);
    rest.extend_from_slice(b"\x89\x81\0\0\0\0!");
    rest.extend_from_slice(&[0x80, 0x80 | 10, 0, 0, 0, 0]);
    rest.extend_from_slice(&message[9..]);
    rest.extend_from_slice(b"\x88\x82\0\0\0\0\x03\xe8");
    let mut early = vec![0x81, 0x80 | u8::try_from(message.len()).unwrap(), 0, 0, 0, 0];
    early.extend_from_slice(message);
    let mut stream = by_hand(&node, &early).await;
    for byte in rest {
        stream.write_all(&[byte]).await.unwrap();
    }
    let all = to_the_end(stream).await;
    let text = String::from_utf8_lossy(&all);
    assert_eq!(text.matches("tidegate:subscribed").count(), 2, "{text}");
    assert!(
        all.windows(3).any(|bytes| bytes == b"\x8a\x01!") && all.ends_with(b"\x88\x02\x03\xe8"),
        "{text}"
    );
}

#[tokio::test]
async fn who_says_too_much_is_told_and_then_closed() {
    let mut http = options();
    http.transport.ws_messages = 5;
    let node = Node::start(Setup { http: Some(http), ..Setup::default() }).await;
    let mut socket = ready(&node, "topic=a", false).await;
    for _ in 0..60 {
        if socket.try_send(Message::text(r#"{"subscribe":["b"]}"#)).await.is_err() {
            break;
        }
    }
    let (events, close) = socket.rest().await;
    assert_eq!(close, Close::Said(1008, "rate".into()));
    let count = |name: &str| events.iter().filter(|event| event.event == name).count();
    assert!(count("tidegate:subscribed") >= 10 && count("tidegate:error") >= 10, "{events:?}");
    assert!(events.iter().any(|event| event.data.contains("rate-limited")));
    let other = ready(&node, "topic=a", false).await;
    publish(&node.base(), &json!({"topic": "a", "data": 1})).await;
    drop(other);
}
