//! Clients that nobody wishes for, one connection after another.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::client::Stage;
use super::schedule::Chance;
use crate::wait;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(50);

/// What a connection says before it waits for what comes of it; with a token, to get further.
const HEADS: &[&str] = &[
    "GET /v1/events?topic=chaos:0 HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
    "GET /v1/events?topic=%00%ff&topic=a%20b HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /v1/events?topic=chaos:0&last_event_id=zz-99999999999999999999 HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /v1/events?topic=chaos:0 HTTP/9.9\r\n\r\n",
    "GET http://[::1 HTTP/1.1\r\nhost: \u{1}\r\n\r\n",
    "POST /v1/publish HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\n{\"top",
    "POST /v1/publish HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
    "POST /v1/publish HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "POST /v1/publish HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n[[[[[[[[[[[[",
    "GET /v1/poll?topic=chaos:0&since=%ff&timeout=-1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /v1/ws?topic=chaos:0 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
     sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\u{7f}\u{7f}",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\u{9}\u{4}\0\0\0\0\0nonsense!",
    "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0",
];

/// How many there were until it was stopped. Each second one goes past nginx, to a gateway itself.
pub(super) fn run(stage: &Stage, seed: u64, front: SocketAddr, gateways: &[SocketAddr], token: &str) -> u64 {
    let mut chance = Chance::new(seed);
    let mut count = 0;
    let mut slow: Vec<(TcpStream, Instant)> = Vec::new();
    while !stage.stopped() {
        let to = if count % 2 == 0 { front } else { gateways[chance.below(gateways.len())] };
        wait::pause(PAUSE);
        // A byte at a time, each a while after the other, for as long as they are let.
        slow.retain_mut(|(socket, until)| Instant::now() < *until && socket.write_all(b"x").is_ok());
        let Ok(mut socket) = TcpStream::connect_timeout(&to, Duration::from_secs(1)) else { continue };
        let _ = socket.set_read_timeout(Some(PAUSE));
        let _ = socket.set_write_timeout(Some(PAUSE));
        count += 1;
        let head = HEADS[chance.below(HEADS.len())]
            .replace("host: x", &format!("host: x\r\nauthorization: Bearer {token}"));
        let head = head.as_bytes();
        // Some are turned away before they have said it all; that is as it should be.
        let _ = match chance.below(4) {
            0 => socket.write_all(&(0..64).flat_map(|_| chance.next().to_le_bytes()).collect::<Vec<_>>()),
            1 => socket.write_all(&head[..chance.below(head.len())]),
            2 => {
                let said = socket.write_all(b"GET /v1/events?topic=chaos:0 HTTP/1.1\r\nhost: x\r\nslow: ");
                slow.push((socket, Instant::now() + Duration::from_secs(5)));
                said.ok();
                continue;
            }
            _ => socket.write_all(head),
        };
        let _ = socket.read(&mut [0; 512]);
    }
    count
}
