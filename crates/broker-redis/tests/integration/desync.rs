//! Redis ends a channel that it was not asked to end, as a Cluster does when a slot moves. The
//! library takes the word for the answer to the oldest command: every later answer would be shifted.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_broker_redis::Options;
use tidegate_testkit::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::cluster::{Node, options, topic};

/// Between a node and Redis: it sends commands that the node knows nothing of, on the connection
/// that subscribes.
#[derive(Clone, Default)]
struct Meddler {
    /// To be sent at once.
    now: Arc<Notify>,
    /// What is sent at once, or else before the next SUBSCRIBE.
    command: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Meddler {
    async fn start(redis: &RedisServer) -> (Meddler, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, meddler) = (format!("redis://{}/", listener.local_addr().unwrap()), Meddler::default());
        let (server, accepting) = (redis.addr(), meddler.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                tokio::spawn(accepting.clone().carry(client, server));
            }
        });
        (meddler, url)
    }

    async fn carry(self, client: TcpStream, server: TcpStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let (mut buffer, mut link) = (vec![0; 64 << 10], false);
        loop {
            tokio::select! {
                () = self.now.notified(), if link => {
                    let command = self.command.lock().take();
                    to_server.write_all(&command.unwrap_or_default()).await.unwrap();
                }
                count = from_client.read(&mut buffer) => {
                    let Ok(count @ 1..) = count else { return };
                    let bytes = &buffer[..count];
                    if bytes.windows(13).any(|word| word == b"\r\nSUBSCRIBE\r\n") {
                        link = true;
                        let command = self.command.lock().take();
                        to_server.write_all(&command.unwrap_or_default()).await.unwrap();
                    }
                    if to_server.write_all(bytes).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Ends a channel, before the next SUBSCRIBE.
    fn end(&self, channel: &str) {
        let words = ["UNSUBSCRIBE", channel].map(|word| format!("${}\r\n{word}\r\n", word.len()));
        *self.command.lock() = Some(format!("*2\r\n{}", words.concat()).into_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_channel_ends_its_connection() {
    let redis = RedisServer::start().await;
    let (meddler, url) = Meddler::start(&redis).await;
    // No probe and no look at the head finds out by itself.
    let rare = Duration::from_secs(60);
    let mut node = Node::start(Options { probe_interval: rare, ..options(&url) });
    let other = Node::start(options(&redis.url()));
    let (room, second) = (topic("room:1"), topic("room:2"));
    node.subscribe(std::slice::from_ref(&room)).await;
    node.wait_ready(true).await;
    other.publish_at_last(&room, "before").await;
    assert_eq!(node.text().await, "before");

    // Nothing is in flight.
    meddler.end("tg:{0}:c:room:1");
    meddler.now.notify_one();
    node.gap().await;
    other.publish(&room, "after").await.unwrap();
    assert_eq!(node.text().await, "after");
    assert_eq!(node.metrics.reconnects.get(), 1);

    // Two commands are in flight: the subscription of another topic, and the head behind it.
    meddler.end("tg:{0}:c:room:1");
    let begin = node.subscribe(std::slice::from_ref(&second)).await;
    let last = other.publish(&second, "second").await.unwrap().mark.unwrap().1;
    other.publish(&room, "end").await.unwrap();
    assert!(begin.iter().all(|(_, position)| position.offset < last.offset));
    assert_eq!([node.text().await, node.text().await], ["second", "end"]);
    assert_eq!(node.metrics.reconnects.get(), 2);
}
