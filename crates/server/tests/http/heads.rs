//! What is no request to the HTTP library is answered like one.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::application::toy;
use crate::node::{Node, Setup, options};
use crate::unread::{read_all, read_head, until};

/// A page of another origin may read why its request was refused, and a program gets a problem.
#[tokio::test]
async fn a_head_that_is_too_large_is_a_problem_like_any_other() {
    let http = tidegate_server::Options {
        origins: tidegate_auth::Origins::parse(&["https://page.test"]).unwrap(),
        ..options()
    };
    let node = Node::start(Setup { http: Some(http), ..Setup::default() }).await;
    let page = "origin: https://page.test\r\n";
    let lines = "x: y\r\n".repeat(101);
    let cookie = |bytes: usize| format!("cookie: {}\r\n", "c".repeat(bytes));
    for (begin, more, status) in [
        ("GET /v1/poll", format!("{page}{}", cookie(40_000)), 431),
        ("POST /v1/publish", format!("{page}{}", cookie(3_000_000)), 431),
        ("GET /healthz", format!("{page}{lines}"), 431),
        ("NO HTTP AT ALL", page.to_owned(), 400),
    ] {
        let mut socket = TcpStream::connect(node.addr()).await.unwrap();
        // A connection that has served others, as one of a proxy has.
        socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        until(&mut socket, "{\"status\":\"ok\"}").await;
        let request = format!("{begin} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = read_all(&mut socket).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{begin}: {head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], status, "{begin}");
        for line in [
            "access-control-allow-origin: https://page.test",
            "content-type: application/problem+json",
            "connection: close",
            &format!("content-length: {}", body.len()),
        ] {
            assert!(head.contains(line), "{begin}: no {line:?} in {head}");
        }
    }
    let metrics = node.metrics().await;
    assert!(metrics.contains("requests_total{route=\"none\",status=\"431\"} 3"), "{metrics}");
    // Pages of others may not read it.
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    let request =
        format!("GET / HTTP/1.1\r\norigin: https://evil.test\r\nconnection: close\r\n{}\r\n", cookie(40_000));
    socket.write_all(request.as_bytes()).await.unwrap();
    let answer = read_all(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") && !answer.contains("allow-origin"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_a_problem_on_http2() {
    let http = tidegate_server::Options {
        origins: tidegate_auth::Origins::parse(&["https://page.test"]).unwrap(),
        ..options()
    };
    let node = Node::start(Setup { http: Some(http), ..Setup::default() }).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let request = client.get(node.url("/healthz")).header("cookie", "c".repeat(40_000));
    let answer = request.header("origin", "https://page.test").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (431, http::Version::HTTP_2));
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://page.test");
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(problem["status"], 431);
}

/// The library's own answers have no body, and a route's may have none either.
#[tokio::test]
async fn a_routes_empty_answer_is_the_routes() {
    let node = Node::start(Setup { application: Some(toy), ..Setup::default() }).await;
    let mut socket = TcpStream::connect(node.addr()).await.unwrap();
    for _ in 0..2 {
        socket.write_all(b"GET /toy/bare HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let head = read_head(&mut socket).await;
        assert!(head.starts_with("HTTP/1.1 400 ") && head.contains("content-length: 0"), "{head}");
    }
    socket.write_all(b"NO HTTP\r\n\r\n").await.unwrap();
    let answer = read_all(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("problem+json"), "{answer}");
}

/// Its router has no problems to give.
#[tokio::test]
async fn the_admin_listener_refuses_what_it_cannot_read() {
    let node = Node::open().await;
    let cookie = format!("GET /healthz HTTP/1.1\r\ncookie: {}\r\n\r\n", "c".repeat(1 << 20));
    for (request, status) in [("NO HTTP\r\n\r\n", 400), (&*cookie, 431)] {
        let mut socket = TcpStream::connect(node.admin_addr()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = read_all(&mut socket).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}
