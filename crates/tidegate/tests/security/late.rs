//! A request in a body that comes late: after the answer to the request that announced it, when the
//! connection may have left the HTTP library. It is that body, whoever reads it.

use serde_json::{Value, json};
use tidegate_testkit::http::{get, publish_as};
use tidegate_testkit::{DEADLINE, Gateway, Nginx};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raw;
use crate::world::{API_KEY, keyed};

/// How a body may be announced, and what comes late. `{L}`: the length of the hidden request `{B}`,
/// `{C}`: it as a chunk.
const BODIES: [(&str, &str, &str); 7] = [
    ("a length", "Content-Length: {L}\r\n", "{B}"),
    ("chunks", "Transfer-Encoding: chunked\r\n", "{C}0\r\n\r\n"),
    ("chunks that are none", "Transfer-Encoding: chunked\r\n", "{B}"),
    ("a trailer", "Transfer-Encoding: chunked\r\nTrailer: X\r\n", "{C}0\r\nX: a\r\n\r\n"),
    ("a request for a trailer", "Transfer-Encoding: chunked\r\nTrailer: X\r\n", "0\r\n{B}"),
    ("a length, if told to", "Expect: 100-continue\r\nContent-Length: {L}\r\n", "{B}"),
    ("chunks, if told to", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "{C}0\r\n\r\n"),
];

const PROBE: &str = "GET /healthz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";

fn hidden() -> String {
    let body = r#"{"topic":"smuggled","data":1}"#;
    format!(
        "POST /v1/publish HTTP/1.1\r\nHost: inner\r\nAuthorization: Bearer {API_KEY}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn written(template: &str) -> String {
    let inner = hidden();
    let chunk = format!("{:x}\r\n{inner}\r\n", inner.len());
    template.replace("{L}", &inner.len().to_string()).replace("{C}", &chunk).replace("{B}", &inner)
}

async fn authorized(url: &str) -> Value {
    let bearer = Some(API_KEY);
    tidegate_testkit::http::send(reqwest::Method::GET, url, bearer, None).await.body
}

async fn nothing_was_smuggled(gateway: &Gateway, what: &str) {
    let history = authorized(&gateway.url("/v1/topics/smuggled/events")).await;
    assert!(history["events"].as_array().is_none_or(Vec::is_empty), "{what}: {history}");
}

async fn until(socket: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(end) {
        let read = tokio::time::timeout(DEADLINE, socket.read_buf(&mut seen)).await;
        let read = read.unwrap_or_else(|_| panic!("no {end:?} in {:?}", String::from_utf8_lossy(&seen)));
        assert!(read.unwrap() > 0, "no {end:?} in {:?}", String::from_utf8_lossy(&seen));
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn a_late_body_is_no_request() {
    let gateway = keyed(&[], &[]).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (what, announced, late) in BODIES {
        // A poll that leaves the library, one that stays, a stream, a WebSocket, and what was
        // refused.
        for (outer, more, end) in [
            ("/v1/poll?topic=a&timeout=20&since=", "", "0\r\n\r\n"),
            ("/v1/poll?topic=a&timeout=20&since=", "Connection: close\r\n", "0\r\n\r\n"),
            ("/v1/events?topic=a&last_event_id=", "", "data: wake"),
            ("/v1/ws?topic=a&last_event_id=", upgrade, "\"status\":400"),
            ("/v1/nope?since=", "", "\"status\":404"),
        ] {
            let cursor = authorized(&gateway.url("/v1/poll?topic=a")).await["cursor"].clone();
            let outer = format!("{outer}{}", cursor.as_str().unwrap());
            let what = format!("{outer} {more:?}, {what}");
            let mut socket = TcpStream::connect(gateway.addr()).await.unwrap();
            let head = format!(
                "GET {outer} HTTP/1.1\r\nHost: outer\r\nAuthorization: Bearer {API_KEY}\r\n{more}{}\r\n",
                written(announced)
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            let mut answer = until(&mut socket, "\r\n\r\n").await;
            publish_as(&gateway.base(), API_KEY, &json!({"topic": "a", "data": "wake"})).await;
            if !answer.contains(end) {
                answer += &until(&mut socket, end).await;
            }
            // The probe shows how far the connection was read: if it is answered, everything before
            // it was a body.
            let _ = socket.write_all(format!("{}{PROBE}", written(late)).as_bytes()).await;
            let rest = tokio::time::timeout(DEADLINE, raw::rest(&mut socket));
            let rest = if outer.starts_with("/v1/events") { String::new() } else { rest.await.unwrap() };
            let answers = rest.matches("HTTP/1.1 200").count();
            assert!(answers <= 1 && !rest.contains("smuggled"), "{what}: {rest}");
            nothing_was_smuggled(&gateway, &what).await;
        }
    }
}

/// nginx reads a body before it passes the request on, or passes on what comes: both count the same
/// requests.
#[tokio::test]
async fn a_late_body_is_no_request_behind_nginx() {
    let gateway = keyed(&[], &[]).await;
    let nginx = Nginx::repository(&[gateway.addr()]).await;
    let cursor = authorized(&gateway.url("/v1/poll?topic=a")).await["cursor"].clone();
    for (what, announced, late) in BODIES {
        let poll = format!("/v1/poll?topic=a&since={}&timeout=1", cursor.as_str().unwrap());
        for outer in [&*poll, "/v1/nope"] {
            let mut socket = TcpStream::connect(("127.0.0.1", nginx.port())).await.unwrap();
            let head = format!(
                "GET {outer} HTTP/1.1\r\nHost: outer\r\nConnection: close\r\nAuthorization: Bearer {API_KEY}\r\n{}\r\n",
                written(announced)
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            let _ = socket.write_all(written(late).as_bytes()).await;
            let _ = socket.shutdown().await;
            let answer = tokio::time::timeout(DEADLINE, raw::rest(&mut socket)).await.unwrap();
            assert!(answer.matches("HTTP/1.1 ").count() <= 2, "{outer}, {what}: {answer}");
            // Others on the same connection to the gateway get their own answers.
            for _ in 0..2 {
                assert_eq!(get(&nginx.url("/healthz")).await.body, json!({"status": "ok"}), "{what}");
            }
            nothing_was_smuggled(&gateway, what).await;
        }
    }
}

/// A backend's publish that is refused before nginx has passed it on is no failure of the gateway.
#[tokio::test]
async fn a_refusal_of_a_large_body_passes_nginx() {
    let gateway = keyed(&[], &[]).await;
    let nginx = Nginx::repository(&[gateway.addr()]).await;
    let client = reqwest::Client::new();
    for size in [300_000, 1_000_000, 3_000_000] {
        for _ in 0..8 {
            let answer = client.post(nginx.url("/v1/publish")).body(vec![b'x'; size]).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{size}");
        }
    }
    let log = nginx.log();
    assert!(!log.contains("writev() failed") && !log.contains(" 502 "), "{log}");
}
