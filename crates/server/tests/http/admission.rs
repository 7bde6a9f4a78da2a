//! Who may open one stream more.

use tidegate_server::{AdmissionOptions, Options};
use tidegate_testkit::Sse;

use crate::node::{Node, Setup, options};

const URL: &str = "/v1/events?topic=a";

async fn node(admission: AdmissionOptions) -> Node {
    Node::start(Setup { http: Some(Options { admission, ..options() }), ..Setup::default() }).await
}

/// Opens a stream, as the client that a proxy says it is; gives what it begins with.
async fn open(node: &Node, forwarded: &str) -> (Sse, String) {
    let mut stream = Sse::builder(&node.url(URL)).header("x-forwarded-for", forwarded).open().await;
    assert_eq!(stream.status, 200);
    let first = stream.next().await.unwrap();
    let word = format!("{} {}", first.event, first.data);
    if first.event == "tidegate:closing" {
        assert!(first.retry.is_some() && first.id.is_none(), "{first:?}");
        assert_eq!(stream.next().await, None);
    }
    (stream, word)
}

async fn ready(node: &Node, forwarded: &str) -> Sse {
    let (stream, word) = open(node, forwarded).await;
    assert!(word.starts_with("tidegate:ready"), "{word}");
    stream
}

async fn refused(node: &Node, forwarded: &str, reason: &str) {
    let word = open(node, forwarded).await.1;
    assert_eq!(word, format!(r#"tidegate:closing {{"reason":"{reason}"}}"#));
}

#[tokio::test]
async fn only_streams_count_and_no_claim_does() {
    let node = node(AdmissionOptions { address_connections: 1, ..Default::default() }).await;
    let _first = ready(&node, "192.0.2.1").await;
    // Whatever a client claims about itself: no proxy is trusted here.
    refused(&node, "192.0.2.3", "address_limit").await;
    assert_eq!(tidegate_testkit::http::get(&node.url("/openapi.json")).await.status, 200);
}

#[tokio::test]
async fn behind_a_trusted_proxy_clients_have_their_own_addresses() {
    let node = node(AdmissionOptions {
        address_connections: 1,
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..Default::default()
    })
    .await;
    let _first = ready(&node, "192.0.2.1").await;
    let _second = ready(&node, "192.0.2.2").await;
    let _third = ready(&node, "2001:db8::1").await;
    refused(&node, "192.0.2.2", "address_limit").await;
    refused(&node, "203.0.113.1, 192.0.2.2", "address_limit").await;
    refused(&node, "2001:db8::2", "address_limit").await;
    let forwarded = async |client: &str| {
        let builder = Sse::builder(&node.url(URL)).header("forwarded", &format!("for={client};proto=https"));
        let mut stream = builder.open().await;
        let event = stream.next().await.unwrap().event;
        (stream, event)
    };
    assert_eq!(forwarded("192.0.2.1").await.1, "tidegate:closing");
    let other = forwarded("192.0.2.4").await;
    assert_eq!(other.1, "tidegate:ready");
}
