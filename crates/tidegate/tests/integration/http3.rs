//! HTTP/3 as operators meet it: on by itself where there is TLS, off where they say so, and its part in drain and reload.

use std::net::UdpSocket;

use reqwest::Method;
use serde_json::json;
use tidegate_testkit::http::{get, publish};
use tidegate_testkit::{End, Gateway, H3, Sse, eventually};

use crate::tls::Mount;
use crate::{outcome, tidegate};

/// Opens a stream on the connection.
async fn stream(gateway: &Gateway, connection: &H3) -> Sse {
    let mut stream = Sse::builder(&gateway.url("/v1/events?topic=a")).h3_by(connection).open().await;
    stream.next_named("tidegate:ready").await;
    stream
}

async fn alt_svc(gateway: &Gateway) -> Option<String> {
    let answer = get(&gateway.url("/healthz")).await;
    answer.headers.get("alt-svc").map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn it_is_advertised_on_the_port_of_the_others() {
    let mount = Mount::new();
    let gateway = mount.gateway_with(&[]).await;
    let port = gateway.addr().port();
    assert_eq!(alt_svc(&gateway).await, Some(format!("h3=\":{port}\"; ma=86400")));
}

#[tokio::test]
async fn a_second_signal_tells_clients_that_it_ends() {
    let gateway = Mount::new();
    let pem = gateway.pem();
    let gateway = gateway.gateway_with(&[]).await;
    let connection = H3::connect(&gateway.base(), &pem).await;
    let mut stream = stream(&gateway, &connection).await;
    gateway.terminate();
    eventually("the first is heard", async || gateway.log().contains("a second signal").then_some(())).await;
    gateway.terminate();
    let closed = connection.closed().await;
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed:?}");
    assert!(matches!(stream.rest().await.1, End::Reset(_)));
    gateway.wait().await;
}

#[tokio::test]
async fn a_node_that_died_tells_its_clients_when_it_is_back() {
    let mount = Mount::new();
    let mut gateway = mount.gateway_with(&[("TIDEGATE_NODE", "one")]).await;
    let connection = H3::connect(&gateway.base(), &mount.pem()).await;
    let mut stream = stream(&gateway, &connection).await;
    gateway.kill().await;
    gateway.restart().await;
    // A client that waits asks from time to time whether anybody is there.
    connection.ping();
    let closed = connection.closed().await;
    assert!(matches!(closed, quinn::ConnectionError::Reset), "{closed:?}");
    assert!(matches!(stream.rest().await.1, End::Reset(_)));
}

#[tokio::test]
async fn a_new_certificate_is_shown_over_quic_too() {
    let mut mount = Mount::new();
    let gateway = mount.gateway_with(&[]).await;
    let old = mount.pem();
    let connection = H3::connect(&gateway.base(), &old).await;
    let mut stream = stream(&gateway, &connection).await;
    let new = mount.renew();
    gateway.hang_up();
    let base = gateway.base();
    eventually("the new one is shown", async || H3::try_connect(&base, &new, None).await.ok()).await;
    assert!(H3::try_connect(&base, &old, None).await.is_err(), "the old one is no longer");
    publish(&gateway.base(), &json!({"topic": "a", "data": "still here"})).await;
    assert_eq!(stream.collect_data(1).await, ["still here"]);
    let answer = connection.send(Method::GET, "/healthz", &[], None).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn without_it_udp_is_left_alone_and_clients_stay_on_http2() {
    let mount = Mount::new();
    let gateway = mount.gateway_with(&[("TIDEGATE_HTTP3__ENABLED", "false")]).await;
    assert_eq!(alt_svc(&gateway).await, None);
    drop(UdpSocket::bind(gateway.addr()).expect("the port is free"));
    let url = gateway.url("/v1/events?topic=a");
    let mut stream = Sse::builder(&url).trust(&mount.pem()).h2().open().await;
    stream.next_named("tidegate:ready").await;
}

#[tokio::test]
async fn another_port_may_be_told() {
    let mount = Mount::new();
    let gateway = mount.gateway_with(&[("TIDEGATE_HTTP3__ADVERTISE_PORT", "443")]).await;
    assert_eq!(alt_svc(&gateway).await.as_deref(), Some("h3=\":443\"; ma=86400"));

    let mut check = tidegate(&["config", "check"]);
    check.env("TIDEGATE_HTTP3__ADVERTISE_PORT", "443");
    let (code, _, said) = outcome(check).await;
    assert!(
        code == 1 && said.contains("http3.advertise_port (TIDEGATE_HTTP3__ADVERTISE_PORT): has no effect"),
        "{said}"
    );
}
