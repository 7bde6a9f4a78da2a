//! Clients of HTTP/1 that close their side behind a request: each gets its answer.

use serde_json::json;
use tidegate_server::{App, Application};
use tidegate_testkit::eventually;
use tidegate_testkit::http::publish;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::node::{Node, Setup};
use crate::unread::{answering, post, read_all, read_head};
use crate::{tls, tls_wire};

static BEGUN: Notify = Notify::const_new();
static GO: Notify = Notify::const_new();

fn slow(_: App) -> Application {
    answering(&BEGUN, &GO)
}

#[tokio::test]
async fn a_client_that_closes_its_side_gets_its_answer() {
    let node = Node::open().await;
    for n in 0..200 {
        let mut socket = TcpStream::connect(node.addr()).await.unwrap();
        let body = json!({"topic": "a", "data": n}).to_string();
        let request = format!("{}{body}", post("/v1/publish", "", body.len()));
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let answer = read_all(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{n}: {answer:?}");
    }
    let history = tidegate_testkit::http::get(&node.url("/v1/topics/a/events?limit=1000")).await.body;
    assert_eq!(history["events"].as_array().unwrap().len(), 200);
    // One that closes it while its answer is being made.
    let node = Node::start(Setup { application: Some(slow), ..Setup::default() }).await;
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    socket.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    BEGUN.notified().await;
    socket.shutdown().await.unwrap();
    // Whatever the gateway hears of that, it has heard when it answers something else.
    assert_eq!(tidegate_testkit::http::get(&node.url("/healthz")).await.status, 200);
    GO.notify_one();
    let answer = read_all(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("done"), "{answer:?}");
    // A request that is not whole is none.
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    socket.write_all(format!("{}{{\"topic\"", post("/v1/publish", "", 100)).as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let answer = read_all(&mut socket).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_closes_its_side_of_tls_gets_its_answer() {
    let node = Node::start(tls::setup()).await;
    for version in [&TLS12, &TLS13] {
        for whole in [false, true] {
            let mut stream = tls_wire::connect(&node, version).await;
            let body = json!({"topic": "a", "data": 1}).to_string();
            stream
                .write_all(format!("{}{body}", post("/v1/publish", "", body.len())).as_bytes())
                .await
                .unwrap();
            if whole {
                stream.shutdown().await.unwrap();
            } else {
                // Its TLS's side only: the socket stays open.
                stream.get_mut().1.send_close_notify();
                stream.flush().await.unwrap();
            }
            let answer = read_all(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        }
    }
}

/// It may have left, as proxies pass it on, or still read: either way it waits for nothing more.
#[tokio::test]
async fn a_poll_whose_client_closes_its_side_is_answered_at_once() {
    let node = Node::open().await;
    let first = tidegate_testkit::http::get(&node.url("/v1/poll?topic=a")).await.body;
    let cursor = first["cursor"].as_str().unwrap();
    // Outside of hyper, and in it.
    for more in ["", "connection: close\r\n"] {
        let mut socket = TcpStream::connect(node.addr()).await.unwrap();
        let head =
            format!("GET /v1/poll?topic=a&since={cursor}&timeout=60 HTTP/1.1\r\nhost: a\r\n{more}\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        read_head(&mut socket).await;
        assert_eq!(node.hub.live(), 1);
        socket.shutdown().await.unwrap();
        let answer = read_all(&mut socket).await;
        assert!(answer.contains(cursor) && answer.ends_with("0\r\n\r\n"), "{answer}");
        eventually("the poll is gone", async || (node.hub.live() == 0).then_some(())).await;
    }
}

/// A stream gives what is there, and ends: nothing tells this client from one that has left.
#[tokio::test]
async fn a_stream_whose_client_closes_its_side_ends_with_what_was_there() {
    let node = Node::open().await;
    for n in 0..3 {
        publish(&node.base(), &json!({"topic": "a", "data": format!("event {n}")})).await;
    }
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    socket.write_all(b"GET /v1/events?topic=a&replay=3 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    socket.shutdown().await.unwrap();
    let answer = read_all(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("event: tidegate:ready"), "{answer}");
    assert!(answer.contains("data: event 2"), "{answer}");
    eventually("the stream is gone", async || (node.hub.live() == 0).then_some(())).await;
}
