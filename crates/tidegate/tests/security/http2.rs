//! HTTP/2 as no client speaks it: resets, continuations, references and settings without an end.

use std::time::Duration;

use tidegate_testkit::Gateway;
use tidegate_testkit::http::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{keyed, peak_kib};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that is written out, and kept out of the table (0x00) or put into it (0x40).
fn field(kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    for text in [name.as_bytes(), value] {
        // An integer of seven bits, RFC 7541, 5.1.
        let mut rest = text.len();
        if rest < 127 {
            out.push(u8::try_from(rest).unwrap());
        } else {
            out.push(127);
            rest -= 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            out.push(u8::try_from(rest).unwrap());
        }
        out.extend_from_slice(text);
    }
    out
}

/// `GET http://127.0.0.1 PATH`.
fn request(path: &str) -> Vec<u8> {
    [vec![0x82, 0x86], field(0, ":path", path.as_bytes()), field(0, ":authority", b"127.0.0.1")].concat()
}

/// A connection, and what the other side says on it: the code of its GOAWAY, or nothing where it just ends.
struct Peer(TcpStream);

impl Peer {
    async fn connect(gateway: &Gateway) -> Self {
        let mut socket = TcpStream::connect(gateway.addr()).await.unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self(socket)
    }

    /// Sends `frames` until they end or nobody listens; true if all were taken.
    async fn flood(self, frames: impl Iterator<Item = Vec<u8>> + Send + 'static) -> (bool, Option<u32>) {
        let (reader, mut writer) = self.0.into_split();
        let sending = tokio::spawn(async move {
            for frame in frames {
                if writer.write_all(&frame).await.is_err() {
                    return (false, writer);
                }
            }
            (true, writer)
        });
        let code = tokio::time::timeout(Duration::from_secs(30), goaway(reader)).await;
        let (all, _writer) = sending.await.unwrap();
        (all, code.ok().flatten())
    }
}

/// Reads to the end, or to a GOAWAY.
async fn goaway(mut reader: impl AsyncReadExt + Unpin) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        reader.read_exact(&mut payload).await.ok()?;
        if head[3] == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
}

async fn still_serves(gateway: &Gateway, before: u64, most: u64) {
    assert_eq!(get(&gateway.url("/healthz")).await.status, 200);
    let grown = peak_kib(gateway).saturating_sub(before);
    assert!(grown < most, "{grown} KiB");
}

#[tokio::test]
async fn requests_that_are_taken_back_end_the_connection() {
    let gateway = keyed(&[], &[]).await;
    let before = peak_kib(&gateway);
    let peer = Peer::connect(&gateway).await;
    let resets = (0..200_000_u32).map(|n| {
        let stream = 2 * n + 1;
        let open =
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("/api/schedules/1/seats/events"));
        [open, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    let (all, code) = peer.flood(resets).await;
    assert_eq!((all, code), (false, Some(ENHANCE_YOUR_CALM)));
    still_serves(&gateway, before, 32 << 10).await;
}

#[tokio::test]
async fn headers_without_an_end_end_the_connection() {
    let gateway = keyed(&[], &[]).await;
    let before = peak_kib(&gateway);
    for piece in [field(0, "x-more", &[b'a'; 16_000]), field(0, "a", b"")] {
        let peer = Peer::connect(&gateway).await;
        let first = frame(HEADERS, END_STREAM, 1, &request("/"));
        let more = std::iter::repeat_n(frame(CONTINUATION, 0, 1, &piece), 1_000_000);
        let (all, code) = peer.flood(std::iter::once(first).chain(more)).await;
        assert!(!all, "a million continuations were taken; {code:?}");
    }
    let empty = Peer::connect(&gateway).await;
    let first = frame(HEADERS, END_STREAM, 1, &request("/"));
    let (all, code) = empty
        .flood(std::iter::once(first).chain(std::iter::repeat_n(frame(CONTINUATION, 0, 1, &[]), 1_000_000)))
        .await;
    assert!(!all, "a million empty continuations were taken; {code:?}");
    still_serves(&gateway, before, 32 << 10).await;
}

/// One field of four kilobytes in the table, referred to by a byte each time.
#[tokio::test]
async fn references_are_counted_at_their_size() {
    let gateway = keyed(&[], &[]).await;
    let before = peak_kib(&gateway);
    let peer = Peer::connect(&gateway).await;
    let stored = [request("/"), field(0x40, "x-bomb", &[b'a'; 4_000])].concat();
    let open = frame(HEADERS, END_HEADERS | END_STREAM, 1, &stored);
    // 62 is the first of the table's own fields: sixteen thousand of them are 64 MB.
    let bomb = [request("/"), vec![0x80 | 62; 16_000]].concat();
    let bombs = (0..200_u32).map(move |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 3, &bomb));
    peer.flood(std::iter::once(open).chain(bombs).chain(std::iter::once(frame(DATA, 0, 0, b"the end"))))
        .await;
    still_serves(&gateway, before, 48 << 10).await;
}

/// What has to be answered, by one who reads no answers.
#[tokio::test]
async fn answers_that_nobody_reads_are_not_kept() {
    let gateway = keyed(&[], &[]).await;
    let before = peak_kib(&gateway);
    for question in [
        frame(PING, 0, 0, b"12345678"),
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]),
        frame(HEADERS, END_HEADERS | END_STREAM, 0, &[]),
    ] {
        let Peer(mut socket) = Peer::connect(&gateway).await;
        let many = question.repeat(10_000);
        let send = async {
            for _ in 0..50 {
                if socket.write_all(&many).await.is_err() {
                    break;
                }
            }
        };
        // Who takes no more is no less of an end.
        let _ = tokio::time::timeout(Duration::from_secs(5), send).await;
    }
    still_serves(&gateway, before, 32 << 10).await;
}
