//! A request in another one's body: nginx and the gateway have to agree where each ends, for they share connections.

use std::time::Duration;

use serde_json::json;
use tidegate_testkit::http::{get, publish_as};
use tidegate_testkit::{Gateway, Nginx, eventually};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw;
use crate::world::{API_KEY, keyed};

/// Long enough for an answer on this machine: only what is not to come is waited for.
const QUIET: Duration = Duration::from_millis(700);

/// Heads that can be read in two ways, each in front of a body with a whole request in it. `{L}`: that body's length, `{B}`: the body in chunks.
const HEADS: [(&str, &str); 27] = [
    ("both", "Content-Length: {L}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{B}"),
    ("both, the other way round", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{C}{B}"),
    ("two lengths", "Content-Length: {L}\r\nContent-Length: 0\r\n\r\n{B}"),
    ("two lengths, the other way round", "Content-Length: 0\r\nContent-Length: {L}\r\n\r\n{B}"),
    ("a list of lengths", "Content-Length: 0, {L}\r\n\r\n{B}"),
    ("a signed length", "Content-Length: +{L}\r\n\r\n{B}"),
    ("a length with a space", "Content-Length : {L}\r\n\r\n{B}"),
    ("a length in hex", "Content-Length: 0x{L}\r\n\r\n{B}"),
    ("a length too long", "Content-Length: 18446744073709551616{L}\r\n\r\n{B}"),
    ("a folded length", "Content-Length:\r\n {L}\r\n\r\n{B}"),
    ("a folded encoding", "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{B}"),
    ("an encoding with a space", "Transfer-Encoding : chunked\r\nContent-Length: {L}\r\n\r\n0\r\n\r\n{B}"),
    ("an encoding with a tab", "Transfer-Encoding:\tchunked\r\nContent-Length: {L}\r\n\r\n0\r\n\r\n{B}"),
    ("an encoding with a feed", "Transfer-Encoding: \x0bchunked\r\nContent-Length: {L}\r\n\r\n0\r\n\r\n{B}"),
    ("two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{B}"),
    (
        "two encodings, one unknown",
        "Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{B}",
    ),
    (
        "a list of encodings",
        "Transfer-Encoding: chunked, identity\r\nContent-Length: {L}\r\n\r\n0\r\n\r\n{B}",
    ),
    ("an unknown encoding", "Transfer-Encoding: gzip\r\nContent-Length: {L}\r\n\r\n{B}"),
    ("a quoted encoding", "Transfer-Encoding: \"chunked\"\r\nContent-Length: {L}\r\n\r\n0\r\n\r\n{B}"),
    ("an extension with a line end", "Transfer-Encoding: chunked\r\n\r\n0;a\n\r\n{B}"),
    ("a bare line feed behind a chunk", "Transfer-Encoding: chunked\r\n\r\n4\r\n null\n0\r\n\r\n{B}"),
    ("a long size", "Transfer-Encoding: chunked\r\n\r\n100000000000000000\r\n{B}"),
    ("a signed size", "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n{B}"),
    ("a size in hex with its sign", "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{B}"),
    ("bare line feeds", "Content-Length: 0\n\n{B}"),
    ("a bare carriage return", "X: a\rTransfer-Encoding: chunked\r\nContent-Length: {L}\r\n\r\n0\r\n\r\n{B}"),
    ("a trailer that is a length", "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: {L}\r\n\r\n{B}"),
];

/// What the gateway counted, of every route.
async fn counted(gateway: &Gateway) -> u64 {
    let metrics = get(&gateway.admin_url("/metrics")).await.body.as_str().unwrap().to_owned();
    let lines = metrics.lines().filter(|line| line.starts_with("tidegate_http_requests_total"));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64).sum()
}

fn forwarded(nginx: &Nginx) -> u64 {
    nginx.log().lines().filter(|line| line.contains(" up=127.0.0.1:")).count() as u64
}

#[tokio::test]
async fn nginx_and_the_gateway_count_the_same_requests() {
    let gateway = keyed(&[], &[]).await;
    let nginx = Nginx::repository(&[gateway.addr()]).await;
    let inner = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: inner\r\nAuthorization: Bearer {API_KEY}\r\nContent-Length: 30\r\n\r\n{{\"topic\":\"smuggled\",\"data\":1}} "
    );
    for (what, head) in HEADS {
        // Behind the head of a publish, and of something that goes through the other location and is not buffered.
        for outer in ["POST /v1/publish", "POST /v1/events", "GET /healthz"] {
            let chunk = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
            let head =
                head.replace("{L}", &inner.len().to_string()).replace("{C}", &chunk).replace("{B}", &inner);
            let request =
                format!("{outer} HTTP/1.1\r\nHost: outer\r\nAuthorization: Bearer {API_KEY}\r\n{head}");
            let mut socket = TcpStream::connect(("127.0.0.1", nginx.port())).await.unwrap();
            let (before, asked) = (forwarded(&nginx), counted(&gateway).await);
            socket.write_all(request.as_bytes()).await.unwrap();
            let answer = raw::until_quiet(&mut socket, QUIET).await;
            drop(socket);
            // A victim on the same connection to the gateway gets their own answer.
            for _ in 0..3 {
                assert_eq!(get(&nginx.url("/healthz")).await.body, json!({"status": "ok"}), "{what}");
            }
            // nginx writes its line when it has answered.
            let came = counted(&gateway).await - asked;
            let same = async || (forwarded(&nginx) - before == came).then_some(());
            eventually(
                &format!("{outer}, {what}: nginx passed on {came} requests, which the gateway saw\n{answer}"),
                same,
            )
            .await;
            let answers = answer.matches("HTTP/1.1 ").count() as u64;
            assert!(answers + 3 >= came, "{outer}, {what}: {answers} answers, {came} requests\n{answer}");
        }
    }
    // What both took for a request of its own had its own key; nothing else got in.
    let (status, _) = publish_as(&nginx.base(), API_KEY, &json!({"topic": "after", "data": 1})).await;
    assert_eq!(status, 200);
}

/// Without nginx: what can be read in two ways is refused, or read once and the connection ends.
#[tokio::test]
async fn the_gateway_reads_no_request_in_two_ways() {
    let gateway = keyed(&[], &[]).await;
    let inner = "GET /healthz HTTP/1.1\r\nHost: inner\r\nConnection: close\r\n\r\n";
    for (what, head) in HEADS {
        let chunk = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
        let head = head.replace("{L}", &inner.len().to_string()).replace("{C}", &chunk).replace("{B}", inner);
        let mut socket = TcpStream::connect(gateway.addr()).await.unwrap();
        socket
            .write_all(
                format!(
                    "POST /v1/publish HTTP/1.1\r\nHost: outer\r\nAuthorization: Bearer {API_KEY}\r\n{head}"
                )
                .as_bytes(),
            )
            .await
            .unwrap();
        let answer = raw::until_quiet(&mut socket, QUIET).await;
        let first = raw::status(&answer);
        assert!(matches!(first, 400 | 401 | 408 | 415 | 0), "{what}: {answer}");
        println!("{what}: {first}, {} answers", answer.matches("HTTP/1.1 ").count());
    }
}
