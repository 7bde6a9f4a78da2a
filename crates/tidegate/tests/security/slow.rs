//! Who sends a byte now and then holds nothing for long.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw;
use crate::world::{API_KEY, keyed};

/// Sends `first`, then a byte of `drip` at a time until nobody listens any more; what was answered, and after how long.
async fn drip(addr: std::net::SocketAddr, first: &str, drip: u8) -> (String, Duration) {
    let start = Instant::now();
    let socket = TcpStream::connect(addr).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    writer.write_all(first.as_bytes()).await.unwrap();
    let dripping = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while writer.write_all(&[drip]).await.is_ok() {
            ticks.tick().await;
        }
    });
    let mut text = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut text);
    let _ = tokio::time::timeout(Duration::from_secs(20), reading).await.expect("it goes on for ever");
    dripping.abort();
    (String::from_utf8_lossy(&text).into_owned(), start.elapsed())
}

#[tokio::test]
async fn a_request_has_its_time() {
    let gateway = keyed(
        &[],
        &[("TIDEGATE_LIMITS__HEADER_TIMEOUT", "500ms"), ("TIDEGATE_LIMITS__BODY_TIMEOUT", "500ms")],
    )
    .await;
    let addr = gateway.addr();
    let (_, line) = drip(addr, "GET /v1/eve", b'n').await;
    let (_, head) = drip(addr, "GET /v1/events HTTP/1.1\r\nHost: a\r\nX: ", b'x').await;
    let start = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {API_KEY}\r\nContent-Length: 100000\r\n\r\n"
    );
    let (answer, body) = drip(addr, &start, b' ').await;
    assert_eq!(raw::status(&answer), 408, "{answer}");
    let chunked =
        start.replace("/publish", "/events").replace("Content-Length: 100000", "Transfer-Encoding: chunked");
    let (answer, chunks) = drip(addr, &format!("{chunked}1;"), b'x').await;
    assert_eq!(raw::status(&answer), 408, "{answer}");
    for (what, took) in [("line", line), ("head", head), ("body", body), ("chunks", chunks)] {
        assert!(took < Duration::from_secs(8), "{what}: {took:?}");
    }
}
