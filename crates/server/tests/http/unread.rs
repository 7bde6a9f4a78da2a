//! Bodies that no route reads, and those that come late: each client still gets its answer.

use std::future::poll_fn;
use std::task::Poll;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use serde_json::json;
use tidegate_server::{App, Application};
use tidegate_testkit::http::publish;
use tidegate_testkit::{DEADLINE, eventually};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::http3_wire::{control, head, still_answers};
use crate::node::{API_KEY, Node, Setup, options};
use crate::{tls, tls_wire};

/// More than the sockets between a client and a server hold.
const LARGE: usize = 8 << 20;

/// Sends `head`, then all of the body, and only then reads, as most HTTP libraries do.
async fn send_all_then_read<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    head: &str,
    length: usize,
) -> String {
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b'x'; 64 << 10];
    for start in (0..length).step_by(chunk.len()) {
        let piece = &chunk[..chunk.len().min(length - start)];
        socket.write_all(piece).await.unwrap_or_else(|error| panic!("{head}: after {start} bytes: {error}"));
    }
    socket.flush().await.unwrap();
    read_head(socket).await
}

pub(crate) async fn read_head<S: AsyncRead + Unpin>(socket: &mut S) -> String {
    until(socket, "\r\n\r\n").await
}

pub(crate) async fn until<S: AsyncRead + Unpin>(socket: &mut S, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let read = tokio::time::timeout(DEADLINE, socket.read_u8()).await.expect("nothing comes");
        text.push(read.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text))));
    }
    String::from_utf8(text).unwrap()
}

pub(crate) async fn read_all<S: AsyncRead + Unpin>(socket: &mut S) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut text)).await;
    let text = String::from_utf8(text).unwrap();
    read.unwrap_or_else(|_| panic!("no end behind {text:?}")).unwrap();
    text
}

pub(crate) fn post(path: &str, more: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{more}content-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let node = Node::keyed().await;
    let key = format!("authorization: Bearer {API_KEY}\r\n");
    for (path, more, length, status) in [
        ("/v1/publish", "", LARGE, 401),
        ("/v1/events?topic=a", "", LARGE, 401),
        ("/v1/nope", "", LARGE, 404),
        ("/healthz", "", LARGE, 405),
        // One byte more than the route reads.
        ("/v1/publish", &*key, LARGE + 1, 413),
        ("/v1/publish", &format!("{key}connection: close\r\n"), LARGE + 1, 413),
        ("/v1/publish", &format!("{key}content-type: text/xml\r\n"), LARGE, 415),
    ] {
        let mut socket = TcpStream::connect(node.addr()).await.unwrap();
        let answer = send_all_then_read(&mut socket, &post(path, more, length), length).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {more}: {answer}");
    }
    // What is no request at all.
    for (head, status) in [("NO HTTP\r\n\r\n", 400), ("GET /", 431)] {
        let mut socket = TcpStream::connect(node.addr()).await.unwrap();
        let answer = send_all_then_read(&mut socket, head, LARGE / 2).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_refusal_reaches_a_client_with_tls() {
    let node = Node::start(Setup { keyed: true, ..tls::setup() }).await;
    for version in [&TLS12, &TLS13] {
        let mut stream = tls_wire::connect(&node, version).await;
        let head = post("/v1/publish", "", 3_000_000);
        let answer = send_all_then_read(&mut stream, &head, 3_000_000).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    // One without TLS is told, too.
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    let answer = send_all_then_read(&mut socket, &post("/v1/publish", "", LARGE / 2), LARGE / 2).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_connection_over_the_limit_hears_so_while_it_sends() {
    let mut http = options();
    http.transport.connections = 1;
    let node = Node::start(Setup { http: Some(http), ..Setup::default() }).await;
    let mut first = TcpStream::connect(node.addr()).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_head(&mut first).await;
    let mut second = TcpStream::connect(node.addr()).await.unwrap();
    let answer = send_all_then_read(&mut second, &post("/v1/publish", "", LARGE), LARGE).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

/// The rest of the body is read as a body, and the connection goes on: a proxy keeps it.
#[tokio::test]
async fn a_connection_outlives_a_refusal() {
    let node = Node::keyed().await;
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    for _ in 0..3 {
        let answer = send_all_then_read(&mut socket, &post("/v1/publish", "", 300_000), 300_000).await;
        assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains("connection: close"), "{answer}");
        let length = answer.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        socket.read_exact(&mut body).await.unwrap();
    }
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let rest = read_all(&mut socket).await;
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.matches("HTTP/1.1 ").count() == 1, "{rest}");
    let metrics = node.metrics().await;
    assert!(metrics.contains("tidegate_unread_bodies_total{result=\"ended\"} 3"), "{metrics}");
}

#[tokio::test]
async fn what_no_route_reads_has_bounds() {
    let transport = tidegate_transport::Options { body_bytes: 100_000, ..Default::default() };
    let http = tidegate_server::Options { transport, ..options() };
    let node = Node::start(Setup { keyed: true, http: Some(http), ..Setup::default() }).await;
    // More than the bound: the answer says that the connection ends with it, and it does.
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    socket.write_all(post("/v1/publish", "", 1 << 30).as_bytes()).await.unwrap();
    let answer = read_head(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("connection: close"), "{answer}");
    let chunk = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while socket.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
        assert!(sent < 1 << 28, "it is read without an end");
    }
    // A client that is not told to send its body may send anything next: its connection ends, too.
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    let expects = post("/v1/publish", "expect: 100-continue\r\n", 1_000);
    socket.write_all(expects.as_bytes()).await.unwrap();
    let answer = read_head(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("connection: close"), "{answer}");
    drop(socket);
    // Nothing comes: it is waited for a few seconds.
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    socket.write_all(post("/v1/publish", "", 1_000).as_bytes()).await.unwrap();
    let answer = read_all(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    for result in ["bytes", "gone", "time"] {
        let line = format!("tidegate_unread_bodies_total{{result=\"{result}\"}} 1");
        eventually(&line, async || node.metrics().await.contains(&line).then_some(())).await;
    }
}

#[tokio::test]
async fn an_http2_client_is_answered_before_its_stream_is_reset() {
    let transport = tidegate_transport::Options { body_bytes: 100_000, ..Default::default() };
    let http = tidegate_server::Options { transport, ..options() };
    let node = Node::start(Setup { keyed: true, http: Some(http), ..Setup::default() }).await;
    let socket = TcpStream::connect(node.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let ask = |client: &mut h2::client::SendRequest<Bytes>| {
        let request = http::Request::post(node.url("/v1/publish")).body(()).unwrap();
        client.send_request(request, false).unwrap()
    };
    // All of a small body is taken.
    let (answer, mut body) = ask(&mut client);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 401);
    body.send_data(Bytes::from_static(&[0; 50_000]), true).unwrap();
    assert!(answer.into_body().data().await.is_some());
    // Of a larger one no more than the bound: then the client is told to stop.
    let (answer, mut body) = ask(&mut client);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 401);
    let mut text = answer.into_body();
    while let Some(data) = text.data().await {
        data.unwrap();
    }
    let mut taken = 0;
    let reason = loop {
        body.reserve_capacity(16 << 10);
        let next = poll_fn(|cx| match body.poll_reset(cx) {
            Poll::Ready(reason) => Poll::Ready(Err(reason)),
            Poll::Pending => body.poll_capacity(cx).map(Ok),
        });
        match next.await {
            Err(reason) => break reason,
            Ok(capacity) => {
                let bytes = capacity.unwrap().unwrap();
                taken += bytes;
                let _ = body.send_data(vec![0; bytes].into(), false);
            }
        }
        assert!(taken < 10 << 20, "it is taken without an end");
    };
    assert_eq!(reason.unwrap(), h2::Reason::NO_ERROR);
    // The connection goes on.
    let request = http::Request::get(node.url("/healthz")).body(()).unwrap();
    let mut client = client.ready().await.unwrap();
    assert_eq!(client.send_request(request, true).unwrap().0.await.unwrap().status(), 200);
}

static BEGUN: Notify = Notify::const_new();
static GO: Notify = Notify::const_new();

/// An application that answers when it is told to, and reads no body.
fn slow(_: App) -> Application {
    answering(&BEGUN, &GO)
}

pub(crate) fn answering(begun: &'static Notify, go: &'static Notify) -> Application {
    let answer = move || async {
        begun.notify_one();
        go.notified().await;
        "done"
    };
    let router = Router::new().route("/slow", any(answer));
    Application { name: "slow", router, streams: &[], openapi: "{}" }
}

/// Until all of the request is there, its stream is served where the request is read.
#[tokio::test]
async fn a_stream_whose_request_has_a_late_body_goes_on() {
    let node = Node::open().await;
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    let head = b"GET /v1/events?topic=a HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n";
    socket.write_all(head).await.unwrap();
    read_head(&mut socket).await;
    for n in 0..3 {
        publish(&node.base(), &json!({"topic": "a", "data": format!("event {n}")})).await;
        let mut seen = String::new();
        while !seen.contains(&format!("event {n}")) {
            let mut buffer = [0; 1024];
            let length = tokio::time::timeout(DEADLINE, socket.read(&mut buffer)).await.unwrap().unwrap();
            assert!(length > 0, "it ends: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        // The body comes between the events, in two pieces.
        if n < 2 {
            socket.write_all(b"GET / HTTP").await.unwrap();
        }
    }
    assert_eq!(node.hub.live(), 1);
    drop(socket);
    eventually("the stream is gone", async || (node.hub.live() == 0).then_some(())).await;
}

#[tokio::test]
async fn an_http3_client_is_answered_before_it_is_stopped() {
    let setup = Setup { h3: true, application: Some(slow), ..Setup::default() };
    let node = Node::start(setup).await;
    let (base, pem) = node.h3_base();
    let connection = tidegate_testkit::H3::raw(&base, &pem).await;
    let _control = control(&connection).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    // A body of a thousand bytes, of which some come.
    send.write_all(&[head(0xd4, "/slow"), vec![0, 0x43, 0xe8], vec![0; 10]].concat()).await.unwrap();
    BEGUN.notified().await;
    still_answers(&connection).await;
    send.write_all(&[0; 10]).await.expect("it is not stopped before the answer");
    GO.notify_one();
    let answer = receive.read_to_end(1 << 20).await.unwrap();
    assert!(answer.ends_with(b"done"), "{answer:?}");
    assert_eq!(send.stopped().await.unwrap().map(u64::from), Some(0x100), "H3_NO_ERROR");
}

/// A poll leaves hyper with its TLS, too: not before its request has been read to its end.
#[tokio::test]
async fn a_late_body_is_no_request_on_tls() {
    let node = Node::start(tls::setup()).await;
    let body = json!({"topic": "smuggled", "data": 1}).to_string();
    let hidden = format!("{}{body}", post("/v1/publish", "", body.len()));
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let ask = async |path: &str| -> serde_json::Value {
        client.get(node.url(path)).send().await.unwrap().json().await.unwrap()
    };
    for version in [&TLS12, &TLS13] {
        let cursor = ask("/v1/poll?topic=a").await["cursor"].as_str().unwrap().to_owned();
        let mut stream = tls_wire::connect(&node, version).await;
        let head = format!(
            "GET /v1/poll?topic=a&timeout=60&since={cursor} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            hidden.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        read_head(&mut stream).await;
        publish(&node.base(), &json!({"topic": "a", "data": 1})).await;
        until(&mut stream, "\r\n0\r\n\r\n").await;
        let probe = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(format!("{hidden}{probe}").as_bytes()).await.unwrap();
        let rest = read_all(&mut stream).await;
        assert!(rest.starts_with("HTTP/1.1 200 ") && rest.contains("\"ok\""), "{rest}");
        assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{rest}");
        assert_eq!(ask("/v1/topics/smuggled/events").await["events"], json!([]));
    }
}
