//! What was shown to the gateway stays with it: the most talkative logs there are, the metrics and nginx' logs hold no credential.

use reqwest::Method;
use serde_json::json;
use tidegate_testkit::http::{client, get, publish_as, send};
use tidegate_testkit::{Gateway, Nginx, RedisServer, Sse, WebSocket};

use crate::raw;
use crate::world::{API_KEY, SECRET, SMALL_KEY, everything, keyed, user};

#[tokio::test]
async fn no_log_and_no_metric_holds_a_credential() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    // Nobody's in particular: the trace of every library, too.
    let gateway =
        keyed(&["--redis", &url], &[("TIDEGATE_LOG", "trace"), ("TIDEGATE_LIMITS__PUBLISH_RATE", "50")])
            .await;
    let nginx = Nginx::repository(&[gateway.addr()]).await;
    let token = everything("alice-of-the-log");
    let forged = format!("{}forged", user("mallory"));
    let marked = "data-that-is-nobodys-business";
    for base in [gateway.base(), nginx.base()] {
        visit(&gateway, &base, &token, &forged, marked).await;
    }
    // One more that fails for want of a broker.
    drop(redis);
    for base in [gateway.base(), nginx.base()] {
        let answer = publish_as(&base, &token, &json!({"topic": "a", "data": marked})).await;
        assert_eq!(answer.0, 503);
    }
    drop(gateway_is_told_nonsense(&gateway, &token).await);
    let metrics = get(&gateway.admin_url("/metrics")).await.body.as_str().unwrap().to_owned();
    let signature = |token: &str| token.rsplit_once('.').unwrap().1.to_owned();
    let secrets = [
        signature(&token),
        signature(&forged),
        API_KEY.into(),
        SMALL_KEY.into(),
        SECRET.into(),
        marked.into(),
    ];
    for (place, text) in [("the log", gateway.log()), ("the metrics", metrics), ("nginx' log", nginx.log())] {
        assert!(text.len() > 500, "{place} is empty");
        for secret in &secrets {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "{place} holds {secret}");
        }
    }
    assert!(nginx.log().contains("POST /v1/publish"), "{}", nginx.log());
    assert!(!nginx.log().contains("access_token"), "{}", nginx.log());
}

/// Comes in every way, with what is right and with what is wrong.
async fn visit(gateway: &Gateway, base: &str, token: &str, forged: &str, marked: &str) {
    for credential in [token, forged, API_KEY, SMALL_KEY] {
        for path in [
            "/v1/events?topic=a",
            "/v1/poll?topic=a&timeout=0",
            "/v1/users/alice-of-the-log/topics",
            "/api/chat/rooms",
            "/nothing",
        ] {
            drop(client().get(format!("{base}{path}")).bearer_auth(credential).send().await.unwrap());
            let sign = if path.contains('?') { '&' } else { '?' };
            drop(client().get(format!("{base}{path}{sign}access_token={credential}")).send().await.unwrap());
            drop(
                client()
                    .get(format!("{base}{path}"))
                    .header("cookie", format!("tidegate_token={credential}"))
                    .send()
                    .await
                    .unwrap(),
            );
        }
        publish_as(base, credential, &json!({"topic": "a", "data": marked})).await;
        publish_as(base, credential, &json!({"topic": "a b", "data": marked})).await;
        let batch: Vec<_> = (0..200).map(|_| json!({"topic": "a", "data": marked})).collect();
        publish_as(base, credential, &json!(batch)).await;
        send(Method::DELETE, &format!("{base}/v1/topics/$a/events?access_token={credential}"), None, None)
            .await;
        let ws = format!("{base}/v1/ws?topic=a&access_token={credential}").replace("http", "ws");
        if let Ok(mut socket) = WebSocket::builder(&ws).try_open().await {
            socket.next_named("tidegate:ready").await;
            socket.send(&json!({"publish": {"topic": "a b", "data": marked}})).await;
            socket.send(&json!({"nonsense": credential})).await;
            socket.close().await;
        }
        drop(Sse::builder(&format!("{base}/v1/events?topic=a")).bearer(credential).h2().try_open().await);
    }
    let room = send(
        Method::POST,
        &format!("{base}/api/chat/rooms"),
        Some(token),
        Some(&json!({"name": "r", "participants": ["bob"]})),
    )
    .await;
    let path = format!("/api/chat/rooms/{}/messages", room.body["id"].as_str().unwrap());
    send(Method::POST, &format!("{base}{path}"), Some(token), Some(&json!({"content": marked}))).await;
    send(Method::POST, &gateway.url("/api/schedules/1/seats/1/hold"), Some(token), None).await;
}

/// Requests that end before anybody knows what they are.
async fn gateway_is_told_nonsense(gateway: &Gateway, token: &str) -> String {
    let request =
        format!("GET /v1/events?access_token={token} HTTP/9.9\r\nAuthorization: Bearer {token}\r\n\r\n");
    raw::ask(gateway.addr(), request.as_bytes()).await
}

#[tokio::test]
async fn an_answer_repeats_no_credential() {
    let gateway = keyed(&[], &[]).await;
    let forged = format!("{}forged", user("mallory"));
    for token in [&forged, &everything("a")] {
        for path in [
            "/v1/events?topic=a%20b",
            "/v1/poll?replay=x",
            "/v1/topics/a/events?limit=x",
            "/v1/nothing",
            "/api/chat/rooms/x",
        ] {
            let sign = if path.contains('?') { '&' } else { '?' };
            let answer = get(&gateway.url(&format!("{path}{sign}access_token={token}"))).await;
            let said = format!("{:?} {}", answer.headers, answer.body);
            assert!(answer.status.is_client_error() && !said.contains(token.as_str()), "{path}: {said}");
        }
    }
}
