//! Bytes as no client library would send them.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_testkit::DEADLINE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends `request` and reads until the other side closes. Who answers without closing is asked for something that closes.
pub(crate) async fn ask(addr: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    // Who has answered already may have closed, too.
    let _ = socket.write_all(request).await;
    let answer = tokio::time::timeout(DEADLINE, rest(&mut socket)).await;
    answer.unwrap_or_else(|_| panic!("no end to the answer to {:?}", String::from_utf8_lossy(request)))
}

/// The same of a head that needs its end and a `Host`, and ends the connection.
pub(crate) async fn line(addr: SocketAddr, line: &[u8]) -> String {
    ask(addr, &[line, b"\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"].concat()).await
}

/// Everything that still comes; a reset is an end, too.
pub(crate) async fn rest(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = socket.read(&mut buffer).await {
        all.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// What comes until it has been quiet for `quiet`: for who counts answers on a connection that stays open.
pub(crate) async fn until_quiet(socket: &mut TcpStream, quiet: Duration) -> String {
    let mut all = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    while let Ok(Ok(n @ 1..)) = tokio::time::timeout(quiet, socket.read(&mut buffer)).await {
        all.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The status of an answer; 0: none came.
pub(crate) fn status(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}
