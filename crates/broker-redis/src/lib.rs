//! The Redis broker: one script numbers, stores and sends an event; one supervised subscription brings a node the
//! topics it wants, in order, and repairs from the streams what a lost connection missed.
//!
//! What is in Redis (prefix `tg`, partition `p`; `{p}` is a hash tag):
//!
//! | key | holds |
//! |---|---|
//! | `tg:{p}:place` | where the partition stands: its life, epoch and counter, and the line of ended epochs |
//! | `tg:{p}:epoch`, `tg:{p}:offset` | epoch and counter once more, for gateways of the version before |
//! | `tg:{p}:s:TOPIC` | stream: id `<offset>-0`, one field `m` with the [envelope](tidegate_protocol::Envelope) |
//! | `tg:{p}:t:TOPIC` | record: `e`poch, `l`ast offset and life (`f`); outlives the stream |
//! | `tg:{p}:k:TOPIC KEY` | receipt of a publication with an idempotency key |
//! | `tg:{p}:v:TOPIC` | the last version of a topic that is published to by version |
//! | `tg:{p}:m:USER`, `tg:{p}:d:USER` | the user's memberships, and the count of disconnects |
//! | channel `tg:{p}:c:TOPIC` | envelopes; on database 2 `tg@2:{p}:c:TOPIC` |
//!
//! A partition is what belongs to one hash tag. It has one primary at any time; an epoch belongs to one reign of one
//! primary ([`place`]). Needs Redis 6.2 or newer (RESP3, exclusive ranges) and `maxmemory-policy noeviction`: an evicted
//! place is noticed and becomes another life, and an evicted record is made up from its stream; where both are gone, a
//! topic has lost events in silence.

mod backoff;
mod connect;
#[cfg(feature = "simulation")]
mod dialer;
mod errors;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod keys;
mod members;
mod options;
mod place;
mod pool;

mod partition;
mod publish;
mod room;
mod scripts;
mod standing;
mod window;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use parking_lot::Mutex;
use tidegate_broker::{Broker, Deliveries, Error, Health, Metrics, Page, Publication, Read, Receipt, queue};
use tidegate_protocol::{Cursor, Topic};
use tidegate_tasks::Tasks;
use tokio_util::sync::CancellationToken;

use connect::Connector;
#[cfg(feature = "simulation")]
pub use dialer::{Dialer, Stream};
use history::Reader;
use keys::Keys;
pub use options::{Options, StartError};
use partition::{Link, Probe, Probed, Silent, Subscription};
use pool::Generation;
pub use pool::{Connection, Pool};
use publish::Publisher;
use room::Room;
use standing::{Misfit, Standing};

/// One node's broker over Redis. Dropping it ends its tasks and its [`Deliveries`].
pub struct RedisBroker {
    keys: Keys,
    publisher: Arc<Publisher>,
    reader: Reader,
    partitions: Arc<[Arc<Subscription>]>,
    probes: Vec<Arc<Probe>>,
    metrics: Metrics,
    require_noeviction: bool,
    stop: CancellationToken,
}

impl RedisBroker {
    /// Starts connecting, as some of the node's `tasks`, and returns at once; call it within a
    /// tokio runtime. A Redis that is away is waited for: [`Broker::health`] tells. Fails only for
    /// settings that can't work.
    #[expect(clippy::needless_pass_by_value, reason = "settings are given away: nobody changes them later")]
    pub fn start(
        options: Options,
        metrics: Metrics,
        tasks: &Tasks,
    ) -> Result<(Arc<Self>, Deliveries), StartError> {
        let info = options.check()?;
        let connector = Connector::new(&info, &options)?;
        let keys = Keys::new(&options.prefix, options.partitions, info.redis_settings().db());
        let (feed, deliveries) = queue(options.queue_bytes);
        let misfit = Misfit::default();
        let standing = |partition| Standing::new(partition, Arc::clone(&misfit));
        let standings: Arc<[Arc<Standing>]> = keys.partitions().map(standing).collect();
        let subscription = |standing: &Arc<Standing>| {
            let (keys, feed) = (keys.clone(), feed.clone());
            Subscription::new(keys, Arc::clone(standing), feed, options.queue_bytes)
        };
        let partitions: Arc<[Arc<Subscription>]> = standings.iter().map(subscription).collect();

        let patience = options.connect_timeout;
        let generation = Generation::default();
        let publisher =
            Publisher::new(keys.clone(), standings.to_vec(), options.publish_connections, patience);
        let publisher = Arc::new(publisher);
        let reader = Reader {
            keys: keys.clone(),
            partitions: standings,
            pool: Pool::new(connector.clone(), generation.clone(), &options)?,
            patience,
            memberships: options.memberships,
            pages: Room::new(room::MOST, options.response_timeout),
        };

        let stop = CancellationToken::new();
        let tasks = tasks.until(&stop);
        for (number, slot) in publisher.slots().iter().enumerate() {
            tasks.spawn(&format!("redis publisher {number}"), slot.supervise(connector.clone()));
        }
        // Connections of their own: a repair does not wait behind the reads of clients that come
        // back at the same time.
        let alone = Options { pool_size: partitions.len(), ..options.clone() };
        let pool = Pool::new(connector.clone(), generation.clone(), &alone)?;
        let repairs = Reader { pool, ..reader.clone() };
        let silent: Silent = Arc::new(Mutex::new(keys.partitions().collect()));
        let mut probes = Vec::with_capacity(partitions.len());
        for subscription in partitions.iter() {
            let link = Link::new(
                Arc::clone(subscription),
                connector.clone(),
                repairs.clone(),
                generation.clone(),
                metrics.clone(),
                &options,
            );
            let of = subscription.partition;
            tasks.spawn(&format!("redis subscription {of}"), link.run());
            let (publisher, subscription) = (Arc::clone(&publisher), Arc::clone(subscription));
            let probe = Probe::new(publisher, subscription, metrics.clone(), Arc::clone(&silent), &options);
            let probe = Arc::new(probe);
            tasks.spawn(&format!("redis probe {of}"), Arc::clone(&probe).run());
            probes.push(probe);
        }

        let require_noeviction = options.require_noeviction;
        let broker = Self { keys, publisher, reader, partitions, probes, metrics, require_noeviction, stop };
        Ok((Arc::new(broker), deliveries))
    }

    /// Connections for what else a node keeps in the same Redis. Waiting for one, and for an answer, has a deadline.
    pub fn pool(&self) -> Pool {
        self.reader.pool.clone()
    }

    /// Ends its tasks and connections, and its [`Deliveries`] once they are taken.
    pub fn shutdown(&self) {
        self.stop.cancel();
        self.partitions.iter().for_each(|partition| partition.close());
        self.publisher.slots().close();
        self.reader.pool.close();
    }
}

impl Drop for RedisBroker {
    fn drop(&mut self) {
        self.shutdown();
    }
}

#[async_trait]
impl Broker for RedisBroker {
    fn partitions(&self) -> u8 {
        self.keys.count()
    }

    async fn publish(&self, batch: Vec<Publication>) -> Vec<Result<Receipt, Error>> {
        if batch.is_empty() {
            return Vec::new();
        }
        let _timer = self.metrics.publish_seconds.start_timer();
        self.publisher.publish(&batch).await
    }

    async fn publish_version(
        &self,
        publication: Publication,
        version: u64,
    ) -> Result<Option<Receipt>, Error> {
        let _timer = self.metrics.publish_seconds.start_timer();
        self.publisher.publish_version(&publication, version).await
    }

    async fn subscribe(&self, topics: Vec<Topic>) -> Result<Cursor, Error> {
        let parts = self.keys.by_partition(topics, Keys::partition).into_iter().map(
            |(partition, topics)| async move {
                let position = self.partitions[partition.index()].subscribe(topics).await?;
                Ok::<_, Error>((partition, position))
            },
        );
        let mut cursor = Cursor::default();
        for (partition, position) in try_join_all(parts).await? {
            cursor.set(partition, position);
        }
        Ok(cursor)
    }

    fn unsubscribe(&self, topics: Vec<Topic>) {
        for (partition, topics) in self.keys.by_partition(topics, Keys::partition) {
            self.partitions[partition.index()].unsubscribe(&topics);
        }
    }

    async fn history_within(&self, reads: Vec<Read>, bytes: usize) -> Result<Vec<Page>, Error> {
        self.reader.history(&reads, bytes).await
    }

    async fn forget(&self, topic: &Topic) -> Result<bool, Error> {
        self.reader.forget(topic).await
    }

    async fn memberships_of(&self, users: &[Topic]) -> Result<Vec<Vec<Topic>>, Error> {
        self.reader.memberships_of(users).await
    }

    async fn set_membership(&self, user: &Topic, topic: &Topic, member: bool) -> Result<bool, Error> {
        let changed = self.reader.set_membership(user, topic, member).await;
        changed.inspect_err(|error| self.metrics.refused(error))
    }

    async fn disconnect(&self, user: &Topic) -> Result<u32, Error> {
        self.reader.disconnect(user).await
    }

    async fn disconnects(&self, users: &[Topic]) -> Result<Vec<u64>, Error> {
        self.reader.disconnects(users).await
    }

    fn health(&self) -> Health {
        let (mut degraded, mut failed) = (Vec::new(), false);
        for (partition, probe) in self.partitions.iter().zip(&self.probes) {
            let outcome = probe.outcome();
            failed |= matches!(outcome, Probed::Failed(_));
            if let Probed::Refused(why) | Probed::Failed(why) = outcome {
                degraded.push((partition.partition, why));
            }
        }
        // What Redis itself refuses it refuses to every node: one that is taken out of service for
        // that would take the other partitions with it.
        let ready = !failed && degraded.len() < self.partitions.len();
        let problems = self.partitions.iter();
        let mut problems =
            problems.filter_map(|partition| partition.eviction.lock().problem(self.require_noeviction));
        let eviction = problems.next();
        let keeps = eviction.as_ref().is_none_or(|(_, stops)| !stops);
        let detail = match degraded.first() {
            None if !keeps => eviction.iter().map(|(words, _)| words.as_str()).collect(),
            None => "publishing and receiving work".into(),
            Some((_, why)) if self.partitions.len() == 1 => why.clone(),
            Some((partition, why)) => format!("partition {partition}: {why}"),
        };
        Health { ready: ready && keeps, detail, degraded, eviction: eviction.map(|(words, _)| words) }
    }
}
