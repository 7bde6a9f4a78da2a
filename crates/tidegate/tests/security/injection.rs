//! Nothing that a client says starts a line of a stream, a header, or a key of Redis of its own.

use reqwest::Method;
use serde_json::json;
use tidegate_testkit::http::{client, get, post, publish, send};
use tidegate_testkit::{Gateway, RedisServer, Sse};

use crate::raw;
use crate::world::open;

/// What ends a line, a text or a path somewhere.
const ENDS: [&str; 10] =
    ["\n", "\r", "\r\n", "\r\n\r\n", "\0", "\u{85}", "\u{2028}", "\u{2029}", "\u{b}", "\u{feff}"];

#[tokio::test]
async fn names_with_line_ends_are_refused() {
    let gateway = open(&[]).await;
    for end in ENDS {
        let name = format!("room:1{end}data: forged{end}x");
        let id = format!("x{end}id: forged");
        for (field, event) in [
            ("topic", json!({"topic": name, "data": 1})),
            ("topics[1]", json!({"topics": ["a", name], "data": 1})),
            ("user", json!({"user": id, "data": 1})),
            ("users[0]", json!({"users": [id], "data": 1})),
        ] {
            let (status, body) = publish(&gateway.base(), &event).await;
            assert_eq!((status.as_u16(), body["field"].as_str()), (400, Some(field)), "{event}: {body}");
        }
        // An event's name may have spaces, also strange ones; only what is a control character could end a line.
        let named = publish(&gateway.base(), &json!({"topic": "a", "event": id, "data": 1})).await;
        let control = end.chars().any(char::is_control);
        assert_eq!(named.0.as_u16(), if control { 400 } else { 200 }, "{end:?}");
        for (method, path) in [
            (Method::GET, "/v1/events?topic=@"),
            (Method::GET, "/v1/events?userId=@"),
            (Method::GET, "/v1/poll?topic=@"),
            (Method::GET, "/v1/topics/@/events"),
            (Method::DELETE, "/v1/topics/@/events"),
            (Method::GET, "/v1/users/@/topics"),
            (Method::PUT, "/v1/users/@/topics/a"),
            (Method::PUT, "/v1/users/a/topics/@"),
            (Method::POST, "/v1/users/@/disconnect"),
            (Method::GET, "/api/chat/rooms/@?userId=a"),
            (Method::GET, "/api/chat/rooms?userId=@"),
            (Method::GET, "/api/chat/stream?userId=a&roomId=@"),
            (Method::GET, "/long-polling/chat-rooms/@/messages?userId=a&timeout=0"),
            (Method::POST, "/api/chat/users/@/rooms?userId=a"),
            (Method::GET, "/api/schedules/@/seats"),
            (Method::GET, "/api/schedules/@/seats/events"),
            (Method::POST, "/api/schedules/1/seats/1/hold?userId=@"),
        ] {
            let hostile = format!("x{end}event: forged");
            let encoded: String = hostile.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let answer = send(method.clone(), &gateway.url(&path.replace('@', &encoded)), None, None).await;
            assert_eq!(answer.status, 400, "{method} {path} with {end:?}: {}", answer.body);
            assert_eq!(answer.headers.get("event"), None);
        }
    }
}

#[tokio::test]
async fn data_and_ids_stay_in_their_lines() {
    let gateway = open(&[]).await;
    let forged = "id: 9\nevent: forged\ndata: forged\n\nretry: 1";
    // A cursor that is none is answered with a reset, and not repeated.
    let id: String = forged.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut stream = Sse::open(&gateway.url(&format!("/v1/events?topic=a&last_event_id={id}"))).await;
    stream.next_named("tidegate:ready").await;
    for end in ENDS {
        let data = format!("one{end}{}", forged.replace('\n', end));
        publish(&gateway.base(), &json!({"topic": "a", "event": "e", "data": data})).await;
        publish(&gateway.base(), &json!({"topic": "a", "event": "e", "data": {"inside": data}})).await;
        let event = stream.next_named("e").await;
        assert_eq!(event.data, data.replace("\r\n", "\n").replace('\r', "\n"));
        let inside: serde_json::Value = serde_json::from_str(&stream.next_named("e").await.data).unwrap();
        assert_eq!(inside["inside"], data);
    }
    publish(&gateway.base(), &json!({"topic": "a", "event": "last", "data": 1})).await;
    stream.next_named("last").await;
    let names: Vec<_> = stream.seen().iter().map(|block| format!("{block:?}")).collect();
    assert!(!names.iter().any(|block| block.contains("event: Some(\"forged\")")), "{names:?}");
    assert!(!stream.last_event_id().starts_with('9'));
}

#[tokio::test]
async fn headers_end_where_they_end() {
    let gateway = open(&[]).await;
    let addr = gateway.addr();
    for header in [
        &b"Idempotency-Key: a\x00b"[..],
        b"Idempotency-Key: a\rX-Forged: 1",
        b"Idempotency-Key: \xff\xfe",
        b"Last-Event-ID: a\x00b",
        b"Origin: http://127.0.0.1\x01",
        b"X-Name : a",
        b" folded: a",
        b"Bad\x00Name: a",
        b"Content-Length: 24, 24",
        b"Content-Length: +24",
        b"Content-Length: 0x18",
        b"Content-Length: -1",
        b"Transfer-Encoding: identity",
    ] {
        let request = [
            b"POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n",
            header,
            b"\r\n",
            LENGTH,
            BODY,
        ]
        .concat();
        let answer = raw::ask(addr, &request).await;
        let name = String::from_utf8_lossy(header).into_owned();
        assert_eq!(raw::status(&answer), 400, "{name:?}: {answer}");
        assert!(!answer.to_ascii_lowercase().contains("x-forged:"), "{answer}");
    }
    // A cursor of bytes that are no text is no cursor.
    let odd = raw::ask(addr, b"GET /v1/poll?topic=a HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nLast-Event-ID: \xff\xfe\r\n\r\n").await;
    assert!(matches!(raw::status(&odd), 200 | 400), "{odd}");
    // What is repeated in an answer is repeated as data.
    let answer =
        raw::line(addr, b"GET /v1/topics/%0d%0aX-Forged:%201%0d%0a%0d%0a%3cscript%3e/events HTTP/1.1").await;
    assert_eq!(raw::status(&answer), 400);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_ascii_lowercase().contains("x-forged"), "{head}");
    assert!(head.contains("application/problem+json") && !body.contains("\r\n"), "{answer}");
}

const BODY: &[u8] = br#"{"topic":"a","data":"b"}"#;
const LENGTH: &[u8] = b"Content-Length: 24\r\n\r\n";

#[tokio::test]
async fn a_path_is_no_path_of_files() {
    let gateway = open(&[]).await;
    let addr = gateway.addr();
    for path in [
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets/app.js%00.css",
        "/assets/%c0%ae%c0%ae%c0%afetc",
        "/../../etc/passwd",
        "//etc/passwd",
        "/v1/../metrics",
        "/metrics",
        "/v1/topics/a%2f..%2f..%2fmetrics",
        "/V1/EVENTS",
        "/v1/events/",
        "/v1;a=b/events",
    ] {
        let answer = raw::line(addr, format!("GET {path} HTTP/1.1").as_bytes()).await;
        assert!(matches!(raw::status(&answer), 400 | 404), "{path}: {answer}");
    }
    // Overlong forms and halves of characters are no UTF-8, wherever they stand.
    for broken in ["%c0%af", "%e0%80%af", "%f0%80%80%af", "%ed%a0%80", "%ff", "%f4%90%80%80", "%c3"] {
        for path in [
            format!("/v1/topics/{broken}/events"),
            format!("/v1/events?topic=a{broken}"),
            format!("/api/schedules/{broken}/seats"),
            format!("/api/chat/rooms/{broken}?userId=a"),
            format!("/api/chat/rooms?userId={broken}"),
        ] {
            let answer = raw::line(addr, format!("GET {path} HTTP/1.1").as_bytes()).await;
            assert_eq!(raw::status(&answer), 400, "{path}: {answer}");
        }
    }
    // A slash that is written as one of a name's characters is one: nothing decodes it twice.
    for topic in ["a/b", "a/../b", "%2e", "a%00b"] {
        let encoded: String = topic.bytes().map(|byte| format!("%{byte:02X}")).collect();
        publish(&gateway.base(), &json!({"topic": topic, "data": topic})).await;
        let history = get(&gateway.url(&format!("/v1/topics/{encoded}/events"))).await;
        assert_eq!(history.body["events"][0]["data"], topic, "{}", history.body);
    }
}

#[tokio::test]
async fn names_are_no_keys_of_others() {
    let redis = RedisServer::start().await;
    redis.cli(&["SET", "secret", "of another application"]).await;
    let gateway = Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &["--redis", &redis.url()], &[]).await;
    // `secret` with what an unsuspecting pattern, script or protocol would take it for.
    let names = [
        "*",
        "secret",
        "../secret",
        "{secret}",
        "a}{b",
        "0}:s:x",
        "$",
        "$-1",
        "*3",
        "\"",
        "'",
        "\\",
        "]]",
        "tg:{0}:offset",
        "%s",
        "$(id)",
        ";",
    ];
    for name in names {
        let keyed = client().post(gateway.url("/v1/publish")).header("idempotency-key", name);
        let event = if name.starts_with('$') { format!("x{name}") } else { name.into() };
        let answer = keyed.json(&json!({"topic": event, "data": name})).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
        assert_eq!(
            publish(
                &gateway.base(),
                &json!({"topic": "a", "data": 1, "key": format!("{name}\r\nSET secret 1\r\n")})
            )
            .await
            .0,
            200
        );
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        send(Method::PUT, &gateway.url(&format!("/v1/users/{encoded}/topics/{encoded}")), None, None).await;
        send(Method::POST, &gateway.url(&format!("/v1/users/{encoded}/disconnect")), None, None).await;
        let room = post(
            &gateway.url(&format!("/api/chat/rooms?userId={encoded}")),
            &json!({"name": name, "participants": ["bob"]}),
        )
        .await;
        assert_eq!(room.status, 201, "{}", room.body);
        get(&gateway.url(&format!("/api/chat/rooms/{encoded}?userId={encoded}"))).await;
        let hold = format!("/api/schedules/{encoded}/seats/1/hold?userId={encoded}");
        assert_eq!(send(Method::POST, &gateway.url(&hold), None, None).await.status, 200, "{name}");
        send(Method::DELETE, &gateway.url(&format!("/v1/topics/{encoded}/events")), None, None).await;
    }
    let keys: Vec<String> = redis::from_redis_value(redis.cli(&["KEYS", "*"]).await).unwrap();
    let strange: Vec<_> = keys.iter().filter(|key| !key.starts_with("tg:") && *key != "secret").collect();
    assert!(strange.is_empty(), "{strange:?}");
    let secret: String = redis::from_redis_value(redis.cli(&["GET", "secret"]).await).unwrap();
    assert_eq!(secret, "of another application");
}
