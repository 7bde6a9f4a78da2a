//! HTTP/3 with clients that don't do as they should, and with a network that does not either.

use std::time::Duration;

use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use reqwest::Method;
use serde_json::json;
use tidegate_testkit::http::publish;
use tidegate_testkit::{H3, Sse, eventually};
use tidegate_transport::Options;
use tokio::net::UdpSocket;

use crate::node::{Node, Setup, options};

const NO_ERROR: u32 = 0x100;
const FRAME_UNEXPECTED: u32 = 0x105;
const EXCESSIVE_LOAD: u32 = 0x107;
const REQUEST_INCOMPLETE: u32 = 0x10d;

/// The frame's type, and 1 TiB as its length.
fn endless(kind: u8) -> Vec<u8> {
    [&[kind][..], &(1u64 << 40 | 0xc000_0000_0000_0000).to_be_bytes()].concat()
}

/// A HEADERS frame: methods and names out of QPACK's static table, host and path in plain.
pub(crate) fn head(method: u8, path: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let mut head = vec![0, 0, method, 0xd7, 0x50, 9];
    head.extend_from_slice(b"localhost");
    head.extend_from_slice(&[0x51, length(path)]);
    head.extend_from_slice(path.as_bytes());
    [vec![1, u8::try_from(head.len()).unwrap()], head].concat()
}

fn get() -> Vec<u8> {
    head(0xd1, "/")
}

fn publish_request() -> Vec<u8> {
    head(0xd4, "/v1/publish")
}

/// The client's control stream, with settings that say nothing.
pub(crate) async fn control(connection: &quinn::Connection) -> quinn::SendStream {
    let mut control = connection.open_uni().await.unwrap();
    control.write_all(&[0, 4, 0]).await.unwrap();
    control
}

/// A request that is answered: the connection lives.
pub(crate) async fn still_answers(connection: &quinn::Connection) {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&get()).await.unwrap();
    send.finish().unwrap();
    let answer = receive.read_to_end(1 << 20).await.unwrap();
    assert_eq!(answer[0], 1, "a HEADERS frame");
}

/// Writes until the server has enough.
async fn write_on(stream: &mut quinn::SendStream, most: usize) -> WriteError {
    for _ in 0..most / 4_096 {
        if let Err(error) = stream.write_all(&[0; 4_096]).await {
            return error;
        }
    }
    panic!("the server took {most} bytes");
}

async fn node(transport: Options) -> (Node, quinn::Connection) {
    let http = tidegate_server::Options { transport, ..options() };
    let node = Node::start(Setup { h3: true, http: Some(http), ..Setup::default() }).await;
    let (base, pem) = node.h3_base();
    let connection = H3::raw(&base, &pem).await;
    (node, connection)
}

#[tokio::test]
async fn frames_without_end_are_not_kept() {
    let (node, connection) = node(Options { body_bytes: 100_000, ..Options::default() }).await;
    let mut control = control(&connection).await;
    // As a head, as a frame of a kind that nobody knows before it, and as one behind it, in a body that is read and in one that is not.
    for (begin, code) in [
        (endless(1), EXCESSIVE_LOAD),
        (endless(0x21), EXCESSIVE_LOAD),
        ([publish_request(), endless(0x21)].concat(), EXCESSIVE_LOAD),
        ([get(), endless(0x21)].concat(), NO_ERROR),
    ] {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&begin).await.unwrap();
        let error = write_on(&mut send, 8 << 20).await;
        assert_eq!(error, WriteError::Stopped(VarInt::from_u32(code)));
        let _ = receive.read_to_end(1 << 20).await;
    }
    still_answers(&connection).await;
    control.write_all(&endless(0x21)).await.unwrap();
    let error = write_on(&mut control, 8 << 20).await;
    assert!(matches!(error, WriteError::ConnectionLost(_) | WriteError::Stopped(_)), "{error:?}");
    connection.closed().await;
    assert_eq!(tidegate_testkit::http::get(&node.url("/healthz")).await.status, 200);
}

#[tokio::test]
async fn a_body_before_its_head_ends_the_connection_and_no_other() {
    let (node, connection) = node(Options::default()).await;
    let (base, pem) = node.h3_base();
    let other = H3::raw(&base, &pem).await;
    let _control = (control(&connection).await, control(&other).await);
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&[0, 1, b'x']).await.unwrap();
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code, VarInt::from_u32(FRAME_UNEXPECTED));
        }
        other => panic!("{other:?}"),
    }
    still_answers(&other).await;
}

#[tokio::test]
async fn a_head_has_its_time_and_a_connection_its_first_request() {
    let transport = Options { header_timeout: Duration::from_millis(300), ..Options::default() };
    let (_node, connection) = node(transport).await;
    let _control = control(&connection).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&get()[..5]).await.unwrap();
    still_answers(&connection).await;
    let error = receive.read_to_end(1).await.unwrap_err();
    let reset = quinn::ReadToEndError::Read(ReadError::Reset(VarInt::from_u32(REQUEST_INCOMPLETE)));
    assert_eq!(error, reset);
    still_answers(&connection).await;

    let idle = Options { header_timeout: Duration::from_millis(300), ..Options::default() };
    let (_node, idle) = self::node(idle).await;
    assert!(matches!(idle.closed().await, ConnectionError::ApplicationClosed(_)));
}

#[tokio::test]
async fn a_stream_outlives_a_change_of_address() {
    let (node, connection) = Node::h3(Setup::default()).await;
    let url = format!("{}/v1/events?topic=a", node.h3_base().0);
    let mut stream = Sse::builder(&url).h3_by(&connection).open().await;
    stream.next_named("tidegate:ready").await;
    for n in 0..5 {
        connection.change_address();
        // A client that only listens is found when it says something; browsers do so when they notice.
        assert_eq!(connection.send(Method::GET, "/healthz", &[], None).await.status, 200);
        publish(&node.base(), &json!({"topic": "a", "data": n})).await;
        assert_eq!(stream.collect_data(1).await, [n.to_string()]);
    }
}

#[tokio::test]
async fn many_handshakes_at_once_have_to_prove_where_they_come_from() {
    let (node, _) = Node::h3(Setup::default()).await;
    let (base, pem) = node.h3_base();
    // Nothing comes back through it, as to a forged address.
    let hole = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let out = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, to) = (hole.local_addr().unwrap(), node.addr());
    let relay = tokio::spawn(async move {
        let mut packet = [0; 2_048];
        while let Ok(length) = hole.recv(&mut packet).await {
            out.send_to(&packet[..length], to).await.unwrap();
        }
    });
    let knocking = H3::knock(address, &pem, 200);
    let retried = async || {
        let metrics = node.metrics().await;
        let count = metrics.lines().find_map(|line| line.strip_prefix("tidegate_quic_retries_total "))?;
        (count != "0").then_some(())
    };
    eventually("clients are sent back", retried).await;
    let honest = H3::connect(&base, &pem).await;
    assert_eq!(honest.send(Method::GET, "/healthz", &[], None).await.status, 200);
    drop(knocking);
    relay.abort();
}

#[tokio::test]
async fn nonsense_on_every_stream_harms_nobody_else() {
    let (node, honest) = Node::h3(Setup::default()).await;
    let (base, pem) = node.h3_base();
    let mut seed = 1u64;
    let mut random = move || {
        // xorshift: the same nonsense each time.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..40 {
        let connection = H3::raw(&base, &pem).await;
        let bytes: Vec<u8> = (0..random() % 3_000).map(|_| random() as u8).collect();
        if round % 2 == 0 {
            let _control = control(&connection).await;
            let Ok((mut send, mut receive)) = connection.open_bi().await else { continue };
            // A head that begins well, or not at all.
            let begin = if round % 4 == 0 { get() } else { vec![1] };
            let _ = send.write_all(&[begin, bytes].concat()).await;
            let _ = send.finish();
            let _ = tokio::time::timeout(Duration::from_millis(200), receive.read_to_end(1 << 20)).await;
        } else if let Ok(mut stream) = connection.open_uni().await {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.finish();
            let _ = tokio::time::timeout(Duration::from_millis(100), connection.closed()).await;
        }
    }
    assert_eq!(honest.send(Method::GET, "/healthz", &[], None).await.status, 200);
}
