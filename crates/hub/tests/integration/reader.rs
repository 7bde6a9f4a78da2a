//! A client: reads a stream's bytes as blocks.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use tidegate_hub::SubscriberHandle;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<u64>,
}

pub(crate) struct Reader {
    pub(crate) subscription: SubscriberHandle,
    bytes: Vec<u8>,
    blocks: VecDeque<Block>,
    /// As a browser keeps it.
    pub(crate) last_id: String,
}

impl Reader {
    pub(crate) fn new(subscription: SubscriberHandle) -> Self {
        Self { subscription, bytes: Vec::new(), blocks: VecDeque::new(), last_id: String::new() }
    }

    /// The next block; none at the end. Heartbeats count as blocks without anything.
    pub(crate) async fn block(&mut self) -> Option<Block> {
        while self.blocks.is_empty() {
            let next = poll_fn(|cx| self.subscription.poll_next(cx));
            let chunk = tokio::time::timeout(Duration::from_secs(10), next).await.expect("nothing comes")?;
            self.bytes.extend_from_slice(&chunk.bytes);
            while let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let rest = self.bytes.split_off(end + 2);
                let text = String::from_utf8(std::mem::replace(&mut self.bytes, rest)).unwrap();
                self.blocks.push_back(parse(&text));
            }
        }
        let block = self.blocks.pop_front()?;
        if let Some(id) = &block.id {
            self.last_id.clone_from(id);
        }
        Some(block)
    }

    /// The first block of a stream.
    pub(crate) async fn ready(&mut self) -> Block {
        let block = self.block().await.unwrap();
        assert_eq!(block.name.as_deref(), Some("tidegate:ready"));
        block
    }

    /// The next event's data.
    pub(crate) async fn data(&mut self) -> String {
        let block = self.block().await.expect("the stream has ended");
        assert_eq!(block.name, None, "not an event: {block:?}");
        block.data.unwrap()
    }

    pub(crate) async fn all(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.data().await);
        }
        all
    }

    /// The next block is of the gateway and named so: its data.
    pub(crate) async fn told(&mut self, name: &str) -> String {
        let block = self.block().await.expect("the stream has ended");
        assert_eq!(block.name.as_deref(), Some(name), "{block:?}");
        block.data.unwrap()
    }

    /// Everything up to the end, which must come.
    pub(crate) async fn rest(&mut self) -> Vec<Block> {
        let mut all = Vec::new();
        while let Some(block) = self.block().await {
            all.push(block);
        }
        all
    }
}

fn parse(text: &str) -> Block {
    let mut block = Block::default();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => block.id = Some(id.into()),
            Some(("event", name)) => block.name = Some(name.into()),
            Some(("retry", retry)) => block.retry = retry.parse().ok(),
            Some(("data", data)) => block.data = Some(data.into()),
            _ => {}
        }
    }
    block
}
