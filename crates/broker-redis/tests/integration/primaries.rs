//! A node's way to a primary that changes, and the names that primaries give.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_broker::ResetReason;
use tidegate_broker_redis::Options;
use tidegate_protocol::{Position, Topic};
use tidegate_testkit::{RedisServer, TcpProxy};

use crate::cluster::{Node, Word, options};

/// An (epoch, offset) names one event: all that was ever seen, by name.
#[derive(Default)]
pub(crate) struct Names(HashMap<Position, String>);

impl Names {
    pub(crate) fn note(&mut self, name: Position, text: &str) {
        let known = self.0.entry(name).or_insert_with(|| text.into());
        assert_eq!(known, text, "two events have one name: {name:?}");
    }

    /// Publishes something, and takes its name.
    pub(crate) async fn publish(&mut self, node: &Node, room: &Topic, text: &str) -> Position {
        let name = node.publish_at_last(room, text).await.mark.unwrap().1;
        self.note(name, text);
        name
    }

    /// Takes what a node is told until an event of that text. Gives the resets before it.
    pub(crate) async fn until(&mut self, node: &mut Node, text: &str) -> usize {
        let mut resets = 0;
        loop {
            match node.word().await {
                Word::Event(event) => {
                    let seen = String::from_utf8_lossy(event.data.as_bytes()).into_owned();
                    self.note(event.mark.position(), &seen);
                    if seen == text {
                        return resets;
                    }
                }
                Word::Reset { topics, reason, .. } => {
                    assert_eq!((topics, reason), (None, ResetReason::Epoch));
                    resets += 1;
                }
                Word::Gap | Word::Continued(_) => {}
            }
        }
    }
}

/// A node's way to Redis: an address that stands for whoever is the primary.
pub(crate) async fn address(primary: &RedisServer) -> TcpProxy {
    TcpProxy::start(primary.addr()).await
}

/// A node behind such an address, that listens to a topic.
pub(crate) async fn node(address: &TcpProxy, room: &Topic) -> Node {
    node_with(options(&url(address)), room).await
}

pub(crate) async fn node_with(options: Options, room: &Topic) -> Node {
    let node = Node::start(options);
    node.subscribe(std::slice::from_ref(room)).await;
    node.wait_ready(true).await;
    node
}

pub(crate) fn url(address: &TcpProxy) -> String {
    format!("redis://{}/", address.addr())
}

/// So long that a frozen server stays connected, and rare probes do not notice anything.
pub(crate) fn unhurried(url: &str) -> Options {
    let long = Duration::from_secs(60);
    Options { response_timeout: long, probe_timeout: long, probe_interval: long, ..options(url) }
}

/// Epochs that this node has begun.
pub(crate) fn begun(node: &Node, cause: &str) -> u64 {
    node.metrics.epochs.with_label_values(&[cause]).get()
}
