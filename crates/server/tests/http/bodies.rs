//! Bodies as other people's libraries write them: with a byte order mark, compressed, or in another
//! encoding.

use http::StatusCode;
use serde_json::{Value, json};
use tidegate_testkit::http::client;

use crate::application::toy;
use crate::node::{Node, Setup};

const BOM: &[u8] = b"\xef\xbb\xbf";
const JSON: &str = "application/json";
const EVENT: &[u8] = br#"{"topic":"a","data":"caf\u00e9"}"#;

/// A node with an application, whose bodies are read the same way.
async fn start() -> Node {
    Node::start(Setup { application: Some(toy), ..Setup::default() }).await
}

async fn post(node: &Node, path: &str, headers: &[(&str, &str)], body: &[u8]) -> reqwest::Response {
    let mut request = client().post(node.url(path)).body(body.to_vec());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Every route that takes a body, with one that it takes.
const ROUTES: [(&str, &[u8]); 3] = [
    ("/v1/publish", EVENT),
    ("/v1/events", br#"{"topics":["a"]}"#),
    ("/toy/echo?userId=alice", br#"{"say":"hello"}"#),
];

#[tokio::test]
async fn a_byte_order_mark_is_passed_over() {
    let node = start().await;
    for (path, body) in ROUTES {
        let answer = post(&node, path, &[("content-type", JSON)], &[BOM, body].concat()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let list = [BOM, b"[", EVENT, b"]"].concat();
    let lines = [BOM, EVENT, b"\n", EVENT, b"\n"].concat();
    for (kind, body, count) in [
        ("application/json; charset=\"UTF-8\"", &list, 1),
        ("application/x-ndjson; charset=utf-8", &lines, 2),
        // It changes nothing (RFC 8259, section 11).
        ("application/json; charset=iso-8859-1", &list, 1),
    ] {
        let answer = post(&node, "/v1/publish", &[("content-type", kind)], body).await;
        assert_eq!(answer.status(), StatusCode::OK, "{kind}");
        assert_eq!(answer.json::<Vec<Value>>().await.unwrap().len(), count, "{kind}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_the_reason() {
    let node = start().await;
    // What gzip makes of anything: it is not looked at.
    let compressed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff";
    for (path, body) in ROUTES {
        for coding in ["gzip", "br", "identity, zstd"] {
            let headers = [("content-type", JSON), ("content-encoding", coding)];
            let answer = post(&node, path, &headers, compressed).await;
            assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path} {coding}");
            assert_eq!(answer.headers()["accept-encoding"], "identity");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["type"], "urn:tidegate:problem:content-encoding");
            assert_eq!(problem["field"], "Content-Encoding");
        }
        let headers = [("content-type", JSON), ("content-encoding", "Identity")];
        assert_eq!(post(&node, path, &headers, body).await.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn another_content_type_is_named() {
    let node = start().await;
    let answer = post(&node, "/v1/publish", &[("content-type", "text/xml")], b"<event/>").await;
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["field"], "Content-Type", "{problem}");
}

#[tokio::test]
async fn another_encoding_is_named() {
    let node = start().await;
    let text = std::str::from_utf8(EVENT).unwrap();
    let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    for (what, body) in [
        ("UTF-16", utf16(u16::to_le_bytes)),
        ("UTF-16", utf16(u16::to_be_bytes)),
        ("UTF-16", [&b"\xff\xfe"[..], &utf16(u16::to_le_bytes)].concat()),
        ("UTF-16", [&b"\xfe\xff"[..], &utf16(u16::to_be_bytes)].concat()),
        ("not UTF-8", b"{\"topic\":\"a\",\"data\":\"caf\xe9\"}".to_vec()),
    ] {
        let answer = post(&node, "/v1/publish", &[("content-type", JSON)], &body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{what}");
        let problem: Value = answer.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(what) && detail.contains("Send UTF-8"), "{what}: {detail}");
        assert_eq!(problem["field"], json!(""));
    }
}
