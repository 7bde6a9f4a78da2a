//! The in-process broker.

mod disconnects;
mod keys;
mod log;
#[cfg(test)]
mod model;
mod shard;
mod users;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_protocol::{Cursor, Epoch, MAX_PARTITIONS, Partition, Topic};

use self::shard::Shard;
use crate::{
    Broker, Deliveries, Error, Feed, Full, Health, MEMBERSHIPS, Metrics, Page, Publication, Read, Receipt,
    Span, groups, queue,
};

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// 1 to 8.
    pub partitions: u8,
    /// Bytes of deliveries that may wait for dispatch. When they are full, publishing fails with [`Error::Busy`] and stores nothing.
    pub queue_bytes: usize,
    /// Bytes to hold at most, a rough count, split evenly among the partitions.
    ///
    /// When they are used up, the oldest events of the topics published to longest ago go first, then what is remembered of such topics;
    /// readers whose cursors lie before that get a reset. Idempotency keys and memberships are never dropped early: each of the two
    /// may take a quarter, and from then on what would add to them fails with [`Error::Busy`].
    /// Numbers of disconnects take a sixteenth at most: the oldest are dropped first.
    pub max_bytes: usize,
    /// Topics that one user may be a member of.
    pub memberships: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { partitions: 1, queue_bytes: 64 << 20, max_bytes: 256 << 20, memberships: MEMBERSHIPS }
    }
}

/// One node's broker, within the process. What it holds is gone with it, and its next life has another epoch.
///
/// There is no timer: what has expired is not shown any more, and publishing frees it little by little.
pub struct Local {
    /// One for each partition. No two are ever locked at a time.
    shards: Vec<Mutex<Shard>>,
    feed: Feed,
    metrics: Metrics,
}

impl Local {
    /// An empty broker, and the deliveries of its one node. They end when the broker is dropped.
    pub fn new(options: Options, metrics: Metrics) -> (Arc<Self>, Deliveries) {
        let (feed, deliveries) = queue(options.queue_bytes);
        let count = options.partitions.clamp(1, MAX_PARTITIONS);
        let share = options.max_bytes / usize::from(count);
        let shards = (0..count)
            .filter_map(Partition::new)
            .map(|partition| {
                let epoch = Epoch::from_random(rand::random());
                Mutex::new(Shard::new(partition, epoch, share, options.memberships))
            })
            .collect();
        metrics.probe_up.set(1);
        (Arc::new(Self { shards, feed, metrics }), deliveries)
    }

    fn shard(&self, topic: &Topic) -> &Mutex<Shard> {
        &self.shards[topic.partition(self.partitions()).index()]
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.feed.close();
    }
}

#[async_trait]
impl Broker for Local {
    fn partitions(&self) -> u8 {
        // At most `MAX_PARTITIONS`.
        self.shards.len() as u8
    }

    async fn publish(&self, batch: Vec<Publication>) -> Vec<Result<Receipt, Error>> {
        let begun = Instant::now();
        let results = batch
            .into_iter()
            .map(|publication| self.shard(&publication.topic).lock().publish(publication, begun, &self.feed))
            .collect();
        self.metrics.publish_seconds.observe(begun.elapsed().as_secs_f64());
        results
    }

    async fn publish_version(
        &self,
        publication: Publication,
        version: u64,
    ) -> Result<Option<Receipt>, Error> {
        let begun = Instant::now();
        let mut shard = self.shard(&publication.topic).lock();
        let receipt = shard.publish_version(publication, version, begun, &self.feed);
        self.metrics.publish_seconds.observe(begun.elapsed().as_secs_f64());
        receipt
    }

    async fn subscribe(&self, topics: Vec<Topic>) -> Result<Cursor, Error> {
        let mut cursor = Cursor::default();
        for topic in topics {
            let (partition, position) = self.shard(&topic).lock().subscribe(topic.clone());
            cursor.set(partition, position);
        }
        Ok(cursor)
    }

    fn unsubscribe(&self, topics: Vec<Topic>) {
        for topic in &topics {
            self.shard(topic).lock().unsubscribe(topic);
        }
    }

    async fn history_within(&self, reads: Vec<Read>, bytes: usize) -> Result<Vec<Page>, Error> {
        let (now, mut left) = (Instant::now(), bytes);
        let mut pages: Vec<Option<Page>> = reads.iter().map(|_| None).collect();
        for group in groups(&reads, self.partitions()) {
            let together: Vec<&Read> = group.iter().map(|at| &reads[*at]).collect();
            let found = match together.first() {
                Some(Read { topic, span: Span::After { .. } }) => {
                    self.shard(topic).lock().after(&together, left, now)
                }
                _ => {
                    let share = left / together.len();
                    together
                        .iter()
                        .map(|read| self.shard(&read.topic).lock().before(read, share, now))
                        .collect()
                }
            };
            for (at, page) in group.into_iter().zip(found) {
                left = left.saturating_sub(page.bytes());
                pages[at] = Some(page);
            }
        }
        Ok(pages.into_iter().flatten().collect())
    }

    async fn forget(&self, topic: &Topic) -> Result<bool, Error> {
        Ok(self.shard(topic).lock().forget(topic, Instant::now(), &self.feed))
    }

    async fn memberships_of(&self, users: &[Topic]) -> Result<Vec<Vec<Topic>>, Error> {
        Ok(users.iter().map(|user| self.shard(user).lock().users.memberships(user)).collect())
    }

    async fn set_membership(&self, user: &Topic, topic: &Topic, member: bool) -> Result<bool, Error> {
        // Read before the membership holds: the user may get events twice to choose from, but misses none.
        let from = self.shard(topic).lock().head();
        let changed = self.shard(user).lock().set_membership(user, topic, member.then_some(from), &self.feed);
        changed.inspect_err(|error| self.metrics.refused(error))
    }

    async fn disconnect(&self, user: &Topic) -> Result<u32, Error> {
        self.shard(user).lock().disconnect(user, &self.feed)
    }

    async fn disconnects(&self, users: &[Topic]) -> Result<Vec<u64>, Error> {
        Ok(users.iter().map(|user| self.shard(user).lock().users.disconnects.number(user)).collect())
    }

    fn health(&self) -> Health {
        let detail = "in-process broker: this node is the whole cluster".into();
        Health { ready: true, detail, degraded: Vec::new(), eviction: None }
    }
}

impl From<Full> for Error {
    fn from(full: Full) -> Self {
        Self::Busy(full.to_string())
    }
}

/// When something that starts now and lives for `ttl` ends. Clocks can't count beyond some point; nothing here lives for a century.
fn end(now: Instant, ttl: Duration) -> Instant {
    now + ttl.min(Duration::from_secs(100 * 365 * 24 * 3600))
}
