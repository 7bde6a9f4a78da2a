//! Pages of others, in the browser of somebody who has a cookie here.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tidegate_testkit::http::{client, get};
use tidegate_testkit::{Gateway, WebSocket};

use crate::raw;
use crate::world::{everything, handshake, keyed, member};

const PAGE: &str = "https://app.example";
const STRANGERS: [&str; 7] = [
    "https://evil.example",
    "null",
    "https://app.example.evil.example",
    "https://evil-app.example",
    "http://app.example",
    "https://app.example:8443",
    "file://",
];

async fn gateway() -> Gateway {
    keyed(&[], &[("TIDEGATE_CORS__ORIGINS", r#"["https://app.example"]"#)]).await
}

fn cookie() -> String {
    format!("tidegate_token={}", everything("root"))
}

#[tokio::test]
async fn a_strangers_page_changes_nothing_with_the_cookie() {
    let gateway = gateway().await;
    let document = get(&gateway.url("/openapi.json")).await.body;
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let writing = ["post", "put", "delete"].into_iter().filter(|method| item.get(*method).is_some());
        for method in writing {
            let names = ["{topic}", "{user}", "{roomId}", "{userId}", "{schedule}", "{seat}"];
            let url = names.iter().fold(gateway.url(path), |url, name| url.replace(name, "1"));
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            for origin in STRANGERS {
                // As a form sends it: what needs no preflight.
                let request = client()
                    .request(method.clone(), &url)
                    .header("origin", origin)
                    .header("cookie", cookie());
                let request = request.header("content-type", "text/plain").body(r#"{"topic":"a","data":1}"#);
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path} from {origin}");
                assert_eq!(answer.headers().get("access-control-allow-origin"), None);
                tried += 1;
            }
        }
    }
    assert!(tried > 80, "only {tried}");
}

#[tokio::test]
async fn a_strangers_page_reads_nothing_with_the_cookie() {
    let gateway = gateway().await;
    for path in [
        "/v1/events?topic=room:1",
        "/v1/poll?topic=room:1",
        "/v1/topics/room:1/events",
        "/api/chat/rooms",
        "/api/sse/subscribe",
    ] {
        for origin in STRANGERS {
            let answer = client().get(gateway.url(path)).header("origin", origin).header("cookie", cookie());
            let answer = answer.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} from {origin}");
            assert_eq!(answer.headers().get("access-control-allow-origin"), None);
        }
        let own = client().get(gateway.url(path)).header("origin", PAGE).header("cookie", cookie());
        let own = own.send().await.unwrap();
        assert_eq!(own.status(), StatusCode::OK, "{path}");
        assert_eq!(own.headers()["access-control-allow-origin"], PAGE);
        let same =
            client().get(gateway.url(path)).header("origin", gateway.base()).header("cookie", cookie());
        assert_eq!(same.send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn an_origin_that_cant_be_read_is_a_strangers() {
    let gateway = gateway().await;
    let body = r#"{"topic":"a","data":1}"#;
    for origin in [&b"https://app.example\xff"[..], b"\xff", b""] {
        let head = format!(
            "POST /v1/publish HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nCookie: {}\r\nContent-Length: {}\r\nOrigin: ",
            gateway.addr(),
            cookie(),
            body.len()
        );
        let answer =
            raw::ask(gateway.addr(), &[head.as_bytes(), origin, b"\r\n\r\n", body.as_bytes()].concat()).await;
        assert_eq!(raw::status(&answer), 403, "{origin:?}: {answer}");
    }
}

#[tokio::test]
async fn preflights_of_strangers_are_not_granted() {
    let gateway = gateway().await;
    for path in [
        "/v1/publish",
        "/v1/users/a/topics/b",
        "/api/chat/rooms",
        "/api/schedules/1/seats/1/hold",
        "/nothing",
    ] {
        let ask = |origin: &'static str| {
            let request = client().request(Method::OPTIONS, gateway.url(path)).header("origin", origin);
            let request = request.header("access-control-request-method", "POST");
            async move { request.header("access-control-request-headers", "authorization").send().await.unwrap() }
        };
        for origin in STRANGERS {
            let answer = ask(origin).await;
            for name in ["access-control-allow-origin", "access-control-allow-credentials"] {
                let value = answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
                assert!(
                    name.ends_with("credentials") || value.is_none(),
                    "{path} from {origin}: {name}: {value:?}"
                );
            }
        }
        assert_eq!(ask(PAGE).await.headers()["access-control-allow-origin"], PAGE);
    }
}

#[tokio::test]
async fn a_strangers_page_opens_no_websocket() {
    let gateway = gateway().await;
    let url = gateway.url("/v1/ws?topic=room:1").replace("http", "ws");
    for origin in STRANGERS {
        let by_cookie = WebSocket::builder(&url).header("origin", origin).header("cookie", &cookie());
        assert_eq!(handshake(by_cookie).await, 403, "{origin}");
        // Not with a token of its own either: what may not read an answer may not open one.
        let own = WebSocket::builder(&url).header("origin", origin).bearer(&member("mallory"));
        assert_eq!(handshake(own).await, 403, "{origin}");
    }
    let mut page = WebSocket::builder(&url).header("origin", PAGE).header("cookie", &cookie()).open().await;
    page.next_named("tidegate:ready").await;
}

/// A key of a backend is no cookie and no part of a URL, where browsers and logs would have it.
#[tokio::test]
async fn a_backends_key_counts_in_its_header_only() {
    let gateway = gateway().await;
    let key = crate::world::API_KEY;
    let event = json!({"topic": "a", "data": 1});
    let by_cookie =
        client().post(gateway.url("/v1/publish")).header("cookie", format!("tidegate_token={key}"));
    assert_eq!(by_cookie.json(&event).send().await.unwrap().status(), 401);
    let by_query = client().post(gateway.url(&format!("/v1/publish?access_token={key}")));
    assert_eq!(by_query.json(&event).send().await.unwrap().status(), 401);
}
