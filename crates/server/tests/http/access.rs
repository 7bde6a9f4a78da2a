use std::time::Duration;

use serde_json::json;
use tidegate_auth::Origins;
use tidegate_testkit::http::{self, publish_as};
use tidegate_testkit::{Sse, http::client};

use crate::node::{API_KEY, Node, Setup, options, token};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn who_may_do_what() {
    let node = Node::keyed().await;
    let alice = token("alice", &["room:*"], &["room:1"], HOUR);
    let open = |topic: &str, token: Option<&str>| {
        let builder = Sse::builder(&node.url(&format!("/v1/events?topic={topic}")));
        let builder = match token {
            Some(token) => builder.bearer(token),
            None => builder,
        };
        async move { builder.open().await.status }
    };
    assert_eq!(open("room:1", None).await, 401);
    assert_eq!(open("room:1", Some("rubbish")).await, 401);
    assert_eq!(open("room:1", Some(&alice)).await, 200);
    assert_eq!(open("user:alice", Some(&alice)).await, 200);
    assert_eq!(open("user:bob", Some(&alice)).await, 403);
    assert_eq!(open("news", Some(&alice)).await, 403);
    assert_eq!(open("$probe:x", Some(API_KEY)).await, 403);
    assert_eq!(open("news", Some(API_KEY)).await, 200);

    let event = |topic: &str| json!({"topic": topic, "data": 1});
    assert_eq!(http::publish(&node.base(), &event("room:1")).await.0, 401);
    assert_eq!(publish_as(&node.base(), &alice, &event("room:1")).await.0, 200);
    assert_eq!(publish_as(&node.base(), &alice, &event("room:2")).await.0, 403);
    assert_eq!(publish_as(&node.base(), API_KEY, &event("room:2")).await.0, 200);

    let url = node.url("/v1/users/alice/topics");
    for (token, status) in [(None, 401), (Some(&*alice), 200), (Some(API_KEY), 200)] {
        assert_eq!(http::send(reqwest::Method::GET, &url, token, None).await.status, status);
    }
    for path in ["/v1/users/alice/topics/x", "/v1/topics/room:1/events"] {
        let url = node.url(path);
        let send = |token| http::send(reqwest::Method::DELETE, &url, token, None);
        assert_eq!(send(None).await.status, 401);
        assert_eq!(send(Some(&*alice)).await.status, 403);
        assert!(send(Some(API_KEY)).await.status.is_success());
    }
    // The gateway's own topics are nobody's to forget or to join others to.
    for path in ["/v1/users/alice/topics/$chat:1", "/v1/topics/$chat:1/events"] {
        let url = node.url(path);
        assert_eq!(
            http::send(reqwest::Method::DELETE, &url, Some(API_KEY), None).await.status,
            403,
            "{path}"
        );
    }
    let answer =
        http::send(reqwest::Method::GET, &node.url("/v1/users/bob/topics"), Some(&alice), None).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn a_token_may_come_as_query_or_as_cookie_from_a_known_page() {
    let mut http_options = options();
    http_options.origins = Origins::parse(&["https://APP.example:443", "https://*.example.com"]).unwrap();
    let node = Node::start(Setup { http: Some(http_options), keyed: true, ..Setup::default() }).await;
    let alice = token("alice", &[], &[], HOUR);
    let mut stream = Sse::open(&node.url(&format!("/v1/events?access_token={alice}"))).await;
    assert!(stream.next_named("tidegate:ready").await.data.contains("alice"));
    let with_cookie = |origin: &'static str| {
        let builder =
            Sse::builder(&node.url("/v1/events")).header("cookie", &format!("a=b; tidegate_token={alice}"));
        async move { builder.header("origin", origin).open().await }
    };
    for origin in ["https://app.example", "https://shop.example.com", "https://a.b.example.com"] {
        let stream = with_cookie(origin).await;
        assert_eq!(stream.status, 200, "{origin}");
        assert_eq!(stream.header("access-control-allow-origin"), Some(origin));
        assert_eq!(stream.header("access-control-allow-credentials"), Some("true"));
    }
    for origin in ["https://evil.example", "https://evilexample.com", "https://example.com"] {
        let stream = with_cookie(origin).await;
        assert_eq!(stream.status, 403, "{origin}");
        assert_eq!(stream.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn preflight() {
    let mut http_options = options();
    http_options.origins = Origins::parse(&["https://app.example"]).unwrap();
    let node = Node::start(Setup { http: Some(http_options), ..Setup::default() }).await;
    let ask = |origin: &'static str| {
        let request =
            client().request(reqwest::Method::OPTIONS, node.url("/v1/events")).header("origin", origin);
        let request = request.header("access-control-request-method", "GET");
        let request =
            request.header("access-control-request-headers", "last-event-id,authorization,cache-control");
        async move { request.send().await.unwrap() }
    };
    let answer = ask("https://app.example").await;
    assert!(answer.status().is_success());
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
    assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
    for name in ["last-event-id", "authorization", "cache-control", "idempotency-key", "content-type"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    assert_eq!(ask("https://evil.example").await.headers().get("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_namespace_may_be_for_anyone() {
    let mut http_options = options();
    let mut namespace = http_options.namespaces.default;
    namespace.subscribe = tidegate_server::Policy::Anyone;
    http_options.namespaces.named.insert("news".into(), namespace);
    let node = Node::start(Setup { http: Some(http_options), keyed: true, ..Setup::default() }).await;
    assert_eq!(Sse::open(&node.url("/v1/events?topic=news:1")).await.status, 200);
    assert_eq!(Sse::open(&node.url("/v1/events?topic=room:1")).await.status, 401);
    assert_eq!(http::publish(&node.base(), &json!({"topic": "news:1", "data": 1})).await.0, 401);
}

#[tokio::test]
async fn an_open_gateway_takes_no_changes_from_other_sites_pages() {
    let node = Node::open().await;
    let send = |origin: &'static str| {
        let request = client().post(node.url("/v1/publish")).header("origin", origin);
        let request = request.header("content-type", "text/plain").body(r#"{"topic":"a","data":1}"#);
        async move { request.send().await.unwrap() }
    };
    let answer = send("https://evil.example").await;
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers().get("access-control-allow-origin"), None);
    assert_eq!(send("http://localhost.evil.example").await.status(), 403);
    assert_eq!(send("null").await.status(), 403);
    let rebound = client().post(node.url("/v1/publish")).header("host", "evil.example");
    let rebound = rebound.header("origin", "http://evil.example").json(&json!({"topic": "a", "data": 1}));
    assert_eq!(rebound.send().await.unwrap().status(), 403, "a name that points here is not ours");
    let rebound = client().get(node.url("/v1/topics/a/events")).header("host", "evil.example:8080");
    assert_eq!(rebound.send().await.unwrap().status(), 403, "nor may its page read");
    for host in ["localhost", "tidegate.localhost:80", "[::1]:8080", "127.0.0.1", "gateway:8080"] {
        let named = client().get(node.url("/v1/topics/a/events")).header("host", host);
        assert_eq!(named.send().await.unwrap().status(), 200, "{host}");
    }
    let answer = send("http://localhost:5173").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "http://localhost:5173");
    let own = client().post(node.url("/v1/publish")).header("origin", node.base());
    assert_eq!(own.json(&json!({"topic": "a", "data": 1})).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_user_that_can_be_none_is_named() {
    let node = Node::open().await;
    let answer = http::get(&node.url("/v1/events?userId=a%20b")).await;
    assert_eq!((answer.status.as_u16(), answer.body["field"].as_str()), (400, Some("userId")));
    let answer = http::get(&node.url("/v1/topics/%ff/events")).await;
    assert_eq!((answer.status.as_u16(), answer.body["field"].as_str()), (400, Some("path")));
}
