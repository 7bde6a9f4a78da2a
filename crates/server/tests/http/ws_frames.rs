//! Frames of a WebSocket besides its messages: each costs work, so each is paced.

use serde_json::json;
use tidegate_testkit::eventually;
use tidegate_testkit::ws::{Close, Message};
use tokio::io::AsyncWriteExt;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::node::{Node, Setup, options};
use crate::ws::ready;
use crate::ws_bounds::{by_hand, to_the_end};

/// A node that takes ten frames at once besides those that begin a message.
async fn node() -> Node {
    let mut http = options();
    http.transport.ws_frames = 5;
    Node::start(Setup { http: Some(http), ..Setup::default() }).await
}

fn fragment(kind: Data, text: &str, last: bool) -> Message {
    Message::Frame(Frame::message(text.to_owned(), OpCode::Data(kind), last))
}

#[tokio::test]
async fn fragments_pings_and_pongs_above_the_rate_close_the_connection() {
    let node = node().await;
    let more = fragment(Data::Continue, "", false);
    let kinds = [more, Message::Ping(vec![0; 3].into()), Message::Pong(Default::default())];
    for h2 in [false, true] {
        for kind in &kinds {
            let mut socket = ready(&node, "topic=a", h2).await;
            socket.send_raw(fragment(Data::Text, "", false)).await;
            // The gateway may have closed it before all are sent.
            for _ in 0..500 {
                if socket.try_send(kind.clone()).await.is_err() {
                    break;
                }
            }
            assert_eq!(socket.rest().await.1, Close::Said(1008, "frames".into()), "{h2} {kind:?}");
        }
    }
    assert!(node.metrics().await.contains("tidegate_ws_closed_total{reason=\"frames\"} 6"));
    eventually("all are gone", async || (node.hub.live() == 0).then_some(())).await;
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_count() {
    let node = node().await;
    let all = to_the_end(by_hand(&node, &b"\x89\x80\0\0\0\0".repeat(50)).await).await;
    assert!(all.ends_with(b"\x88\x08\x03\xf0frames"), "{}", String::from_utf8_lossy(&all));
}

#[tokio::test]
async fn a_message_in_a_few_fragments_is_heard() {
    let node = node().await;
    let mut socket = ready(&node, "topic=a", false).await;
    socket.send_raw(fragment(Data::Text, r#"{"subscribe""#, false)).await;
    for part in [":", "[", "\"b", "\"", "]"] {
        socket.send_raw(fragment(Data::Continue, part, false)).await;
    }
    socket.send_raw(fragment(Data::Continue, "}", true)).await;
    let told = socket.next_object_named("tidegate:subscribed").await;
    assert_eq!(told["data"], json!({"topics": ["b"]}));
}

/// After its goodbye the gateway reads on, so that the goodbye is not lost in a reset, but not
/// whatever comes.
#[tokio::test]
async fn a_client_that_sends_on_after_the_goodbye_is_cut() {
    const ENOUGH: usize = 128 << 20;
    let node = Node::open().await;
    let mut stream = by_hand(&node, b"\x83\x80\0\0\0\0").await;
    let pings = b"\x89\x80\0\0\0\0".repeat(10_000);
    let mut written = 0;
    while let Ok(length) = stream.write(&pings).await {
        written += length;
        assert!(written < ENOUGH, "{written} bytes were taken");
    }
}
