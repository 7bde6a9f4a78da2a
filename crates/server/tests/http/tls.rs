//! Connections over TLS that serve one request after the other.

use serde_json::{Value, json};
use tidegate_testkit::eventually;
use tidegate_testkit::http::{client, publish};
use tidegate_transport::tls::Certificates;

use crate::node::{Node, Setup};

pub(crate) fn setup() -> Setup {
    Setup { tls: Some(Certificates::self_signed(&["localhost", "127.0.0.1"]).unwrap()), ..Setup::default() }
}

#[tokio::test]
async fn polls_on_one_connection() {
    let node = Node::start(setup()).await;
    let certificate = reqwest::Certificate::from_pem(node.pem().as_bytes()).unwrap();
    let kept =
        reqwest::Client::builder().no_proxy().http1_only().tls_certs_only([certificate]).build().unwrap();
    let poll = async |since: &str| -> Value {
        let url = node.url(&format!("/v1/poll?topic=a&since={since}"));
        kept.get(url).send().await.unwrap().json().await.unwrap()
    };
    let mut cursor = poll("").await["cursor"].as_str().unwrap().to_owned();
    for n in 0..3 {
        let event = json!({"topic": "a", "data": n});
        let waiting = async {
            eventually("the poll waits", async || (node.hub.live() == 1).then_some(())).await;
            publish(&node.base(), &event).await
        };
        let (answer, _) = tokio::join!(poll(&cursor), waiting);
        assert_eq!(answer["events"][0]["data"], json!(n));
        cursor = answer["cursor"].as_str().unwrap().to_owned();
    }
    let metrics = node.metrics().await;
    assert!(
        metrics.contains("tidegate_tls_handshakes_total{result=\"ok\"} 4"),
        "1 for polls, 3 for publishing"
    );
}

#[tokio::test]
async fn requests_and_large_bodies() {
    let node = Node::start(setup()).await;
    let certificate = reqwest::Certificate::from_pem(node.pem().as_bytes()).unwrap();
    for http1 in [true, false] {
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([certificate.clone()]);
        let kept = if http1 { builder.http1_only() } else { builder }.build().unwrap();
        let version = if http1 { http::Version::HTTP_11 } else { http::Version::HTTP_2 };
        let lines: String = (0..100)
            .map(|n| format!("{}\n", json!({"topic": "bulk", "data": format!("{n} {}", "z".repeat(40_000))})))
            .collect();
        for _ in 0..2 {
            let request = kept.post(node.url("/v1/publish")).header("content-type", "application/x-ndjson");
            let answer = request.body(lines.clone()).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
            assert_eq!(answer.json::<Vec<Value>>().await.unwrap().len(), 100);
        }
        let url = node.url("/v1/topics/bulk/events?limit=100");
        let page: Value = kept.get(&url).send().await.unwrap().json().await.unwrap();
        // A megabyte of them.
        assert_eq!((page["events"].as_array().unwrap().len(), &page["more"]), (26, &json!(true)));
    }
    let stranger = reqwest::Client::builder().no_proxy().build().unwrap();
    let error = stranger.get(node.url("/healthz")).send().await.unwrap_err();
    assert!(format!("{error:?}").to_lowercase().contains("certificate"), "{error:?}");
    assert_eq!(client().get(node.url("/healthz")).send().await.unwrap().status(), 200);
}
