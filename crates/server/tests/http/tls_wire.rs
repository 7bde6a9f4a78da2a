//! TLS as it is seen on the wire: closings, keys, versions, and clients that speak something else.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate_testkit::eventually;
use tidegate_testkit::http::publish;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::node::{Node, Setup, options};
use crate::tls::setup;

const STREAM: &[u8] = b"GET /v1/events?topic=a HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn config(node: &Node, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(node.pem().as_bytes()).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub(crate) async fn connect(node: &Node, version: &'static SupportedProtocolVersion) -> TlsStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let socket = socket.connect(node.addr()).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config(node, version)));
    connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap()
}

/// Reads until `text` has come by, at the end of what was read.
async fn until(stream: &mut TlsStream<TcpStream>, text: &str) -> String {
    let mut seen = Vec::new();
    loop {
        let new = seen.len().saturating_sub(text.len());
        let read = stream.read_buf(&mut seen).await.unwrap();
        assert!(read > 0, "no {text:?} in {:?}", String::from_utf8_lossy(&seen));
        if seen[new..].windows(text.len()).any(|window| window == text.as_bytes()) {
            return String::from_utf8(seen).unwrap();
        }
    }
}

async fn opened(node: &Node, version: &'static SupportedProtocolVersion) -> TlsStream<TcpStream> {
    let mut stream = connect(node, version).await;
    stream.write_all(STREAM).await.unwrap();
    until(&mut stream, "event: tidegate:ready\n").await;
    stream
}

async fn nobody(node: &Node) {
    eventually("the stream is gone", async || (node.hub.live() == 0).then_some(())).await;
    let gone =
        async || node.metrics().await.contains("tidegate_connections{transport=\"sse-h1\"} 0").then_some(());
    eventually("its connection is, too", gone).await;
}

#[tokio::test]
async fn a_client_that_ends_its_side_is_gone() {
    for version in [&TLS12, &TLS13] {
        let node = Node::start(setup()).await;
        // Its TLS's side only: the socket stays open.
        let mut stream = opened(&node, version).await;
        stream.get_mut().1.send_close_notify();
        stream.flush().await.unwrap();
        nobody(&node).await;
        // Its socket's side only.
        let mut stream = opened(&node, version).await;
        stream.get_mut().0.shutdown().await.unwrap();
        nobody(&node).await;
        // Bytes that nobody would answer.
        let mut stream = opened(&node, version).await;
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        nobody(&node).await;
        // Bytes that are no TLS.
        let mut stream = opened(&node, version).await;
        stream.get_mut().0.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        nobody(&node).await;
        assert!(stream.read_to_end(&mut Vec::new()).await.is_err(), "an alert says why");
    }
}

#[tokio::test]
async fn bytes_behind_the_request_close_the_connection() {
    let node = Node::start(setup()).await;
    let mut stream = connect(&node, &TLS13).await;
    stream.write_all(&[STREAM, b"GET / HTTP/1.1\r\n"].concat()).await.unwrap();
    nobody(&node).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_client_may_change_its_keys() {
    let node = Node::start(setup()).await;
    let mut stream = opened(&node, &TLS13).await;
    for n in 0..3 {
        stream.get_mut().1.refresh_traffic_keys().unwrap();
        stream.flush().await.unwrap();
        publish(&node.base(), &json!({"topic": "a", "data": format!("event {n}")})).await;
        until(&mut stream, &format!("event {n}")).await;
    }
    assert_eq!(node.hub.live(), 1);
}

#[tokio::test]
async fn a_stream_behind_answers_that_fill_the_socket() {
    for version in [&TLS12, &TLS13] {
        let node = Node::start(setup()).await;
        let mut stream = connect(&node, version).await;
        // Answers of several MB, which nobody takes as yet, and then the stream.
        let request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
        stream.write_all(&[&request, STREAM].concat()).await.unwrap();
        stream.flush().await.unwrap();
        let seen = until(&mut stream, "event: tidegate:ready\n").await;
        assert_eq!(seen.matches("HTTP/1.1 200 OK").count(), 201);
        publish(&node.base(), &json!({"topic": "a", "data": "live"})).await;
        until(&mut stream, "data: live\n\n").await;
    }
}

#[tokio::test]
async fn http_without_tls_is_told() {
    let node = Node::start(setup()).await;
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    socket.write_all(STREAM).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    eventually("it is counted", async || {
        node.metrics().await.contains("tidegate_tls_handshakes_total{result=\"cleartext\"} 1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_handshake_has_its_time() {
    let mut http = options();
    http.transport.header_timeout = Duration::from_millis(300);
    let node = Node::start(Setup { http: Some(http), ..setup() }).await;
    for begin in [&b""[..], b"\x16\x03\x01\x02"] {
        let mut socket = TcpStream::connect(node.addr()).await.unwrap();
        socket.write_all(begin).await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
    // With the hands shaken, the request has its own.
    let mut stream = connect(&node, &TLS13).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let text = node.metrics().await;
    assert!(text.contains("tidegate_tls_handshakes_total{result=\"timeout\"} 2"), "{text}");
    assert!(text.contains("tidegate_tls_handshakes_total{result=\"ok\"} 1"), "{text}");
}

#[tokio::test]
async fn a_protocol_that_nobody_speaks_here_is_refused() {
    let node = Node::start(setup()).await;
    let mut config = config(&node, &TLS13);
    config.alpn_protocols = vec![b"spdy/3".to_vec()];
    let socket = TcpStream::connect(node.addr()).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let error = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}
