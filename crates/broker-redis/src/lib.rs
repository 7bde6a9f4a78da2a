//! The Redis broker: one script numbers, stores and sends an event; one supervised subscription brings a node the
//! topics it wants, in order, and repairs from the streams what a lost connection missed.
//!
//! What is in Redis (prefix `tg`, partition `p`; `{p}` is a hash tag):
//!
//! | key | holds |
//! |---|---|
//! | `tg:{p}:epoch`, `tg:{p}:offset` | the life of the partition's counter, and the counter |
//! | `tg:{p}:s:TOPIC` | stream: id `<offset>-0`, one field `m` with the [envelope](tidegate_protocol::Envelope) |
//! | `tg:{p}:t:TOPIC` | record: `e`poch and `l`ast offset; outlives the stream |
//! | `tg:{p}:k:TOPIC KEY` | receipt of a publication with an idempotency key |
//! | `tg:{p}:v:TOPIC` | the last version of a topic that is published to by version |
//! | `tg:{p}:m:USER`, `tg:{p}:d:USER` | the user's memberships, and the count of disconnects |
//! | channel `tg:{p}:c:TOPIC` | envelopes |
//!
//! Needs Redis 6.2 or newer (RESP3, exclusive ranges), one primary, and `maxmemory-policy noeviction`: an evicted counter
//! is noticed and becomes another epoch, an evicted record can hide that a topic has lost events.

mod backoff;
mod connect;
#[cfg(feature = "simulation")]
mod dialer;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod keys;
mod members;
mod options;
mod pool;
mod probe;
mod publish;
mod room;
mod scripts;
mod subscription;
mod window;

use std::sync::Arc;

use async_trait::async_trait;
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
pub use pool::{Connection, Pool};
use probe::Probe;
use publish::Publisher;
use room::Room;
use subscription::{Subscription, Supervisor};

/// One node's broker over Redis. Dropping it ends its tasks and its [`Deliveries`].
pub struct RedisBroker {
    keys: Keys,
    publisher: Arc<Publisher>,
    reader: Reader,
    subscription: Arc<Subscription>,
    probe: Arc<Probe>,
    metrics: Metrics,
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
        let keys = Keys::new(&options.prefix, options.partitions);
        let (feed, deliveries) = queue(options.queue_bytes);

        let patience = options.connect_timeout;
        let publisher = Arc::new(Publisher::new(keys.clone(), options.publish_connections, patience));
        let reader = Reader {
            keys: keys.clone(),
            pool: Pool::new(connector.clone(), &options)?,
            memberships: options.memberships,
            pages: Room::new(room::MOST, options.response_timeout),
        };
        let subscription = Subscription::new(keys.clone(), feed, options.queue_bytes);
        let probe = Arc::new(Probe::new(
            Arc::clone(&publisher),
            Arc::clone(&subscription),
            metrics.clone(),
            &keys,
            &options,
        ));

        let stop = CancellationToken::new();
        let tasks = tasks.until(&stop);
        for (number, slot) in publisher.slots().enumerate() {
            tasks.spawn(&format!("redis publisher {number}"), slot.supervise(connector.clone()));
        }
        // A connection of its own: a repair does not wait behind the reads of clients that come
        // back at the same time.
        let alone = Options { pool_size: 1, ..options.clone() };
        let repairs = Reader { pool: Pool::new(connector.clone(), &alone)?, ..reader.clone() };
        let supervisor =
            Supervisor::new(Arc::clone(&subscription), connector, repairs, metrics.clone(), &options);
        tasks.spawn("redis subscription", supervisor.run());
        tasks.spawn("redis probe", Arc::clone(&probe).run());

        let broker = Self { keys, publisher, reader, subscription, probe, metrics, stop };
        Ok((Arc::new(broker), deliveries))
    }

    /// Connections for what else a node keeps in the same Redis. Waiting for one, and for an answer, has a deadline.
    pub fn pool(&self) -> Pool {
        self.reader.pool.clone()
    }

    /// Ends its tasks and connections, and its [`Deliveries`] once they are taken.
    pub fn shutdown(&self) {
        self.stop.cancel();
        self.subscription.close();
        self.publisher.close();
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
        self.subscription.subscribe(topics).await
    }

    fn unsubscribe(&self, topics: Vec<Topic>) {
        self.subscription.unsubscribe(&topics);
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
        self.probe.health()
    }
}
