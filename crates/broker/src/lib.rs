//! What the gateway asks of the thing between its nodes, written down as a trait with its promises.
//!
//! [`Local`] keeps them for one node within the process. `tidegate-broker-redis` keeps them for a cluster. Both pass the
//! same [`contract`] suite.

#[cfg(feature = "contract")]
pub mod contract;
mod error;
mod local;
mod metrics;
mod queue;
mod types;

use async_trait::async_trait;
use tidegate_protocol::{Cursor, Topic};

pub use error::Error;
pub use local::{Local, Options as LocalOptions};
pub use metrics::Metrics;
pub use queue::{Deliveries, Feed, Full, queue};
pub use types::{
    Control, Delivery, Health, Page, Publication, Read, Receipt, ResetReason, Retention, Span, groups,
};

/// Topics that a user may be a member of, unless configured otherwise. Each is read, subscribed and
/// listed at every join of the user. Twice as many as chat has rooms for a user.
pub const MEMBERSHIPS: usize = 2_000;

/// Bytes of events in an answer to which the reader set no bound: a page for people, and a few
/// milliseconds of Redis' time.
pub const PAGE_BYTES: usize = 1 << 20;

/// Numbers, stores and hands on events; keeps memberships.
///
/// A broker is made together with the one stream of [`Deliveries`] of its node. The promises on that stream:
///
/// - Of each subscribed topic every event arrives, once, and all events of a partition arrive in the order of their offsets,
///   whatever connection losses lie between: the broker repairs holes from what is stored.
/// - A hole that can't be repaired is said with [`Delivery::Reset`], before any event after it.
/// - [`Delivery::Seen`] and every event's own mark tell how far the partition has been handed on: whatever comes later
///   has a larger offset. A new epoch is said first, with a `Reset` or, if nothing was lost, with
///   [`Delivery::Continued`].
/// - After a time in which controls or deletions may have been missed, [`Delivery::Gap`] comes for each partition.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// How many partitions topics are spread over, 1 to 8.
    fn partitions(&self) -> u8;

    /// Stores and sends events, each on its own: one result for each publication, in their order.
    ///
    /// `Ok` means that the event is stored (or, without retention, sent). After [`Error::Unknown`] it may be stored, too: with a key,
    /// publishing again is safe, and gives the first receipt again. After any other error it is not.
    /// Publications of one topic keep their order.
    async fn publish(&self, batch: Vec<Publication>) -> Vec<Result<Receipt, Error>>;

    /// Stores and sends an event that is the `version`th of its topic, unless that version or a
    /// later one was sent already: then `None`.
    ///
    /// For publishers that may be late: whatever they were told to send, an old state never follows
    /// a newer one. The publication's key is not used. A topic's version is remembered for
    /// [`Retention::key_ttl`] after its last event of this kind.
    async fn publish_version(&self, publication: Publication, version: u64)
    -> Result<Option<Receipt>, Error>;

    /// Starts deliveries of `topics`; resolves when they are confirmed.
    ///
    /// The cursor has a position for each partition of `topics`, from after the confirmation: every later event will be delivered.
    /// Topics that are subscribed already only wait for confirmation. Not counted: the caller unsubscribes once, when nobody listens any more.
    /// Waits while the broker is away; the caller sets the deadline by dropping the future.
    async fn subscribe(&self, topics: Vec<Topic>) -> Result<Cursor, Error>;

    /// Ends deliveries of `topics`. Takes effect in the order of the calls; never blocks.
    fn unsubscribe(&self, topics: Vec<Topic>);

    /// Reads stored events: a page for each read, in their order. What does not fit into
    /// [`PAGE_BYTES`] shows as [`Page::more`].
    async fn history(&self, reads: Vec<Read>) -> Result<Vec<Page>, Error> {
        self.history_within(reads, PAGE_BYTES).await
    }

    /// The same for topics that are read together, with a bound on all of it: about `bytes` of
    /// data.
    ///
    /// Reads [after](Span::After) a place take events in the order of their offsets over all topics
    /// of a partition, as many as fit. One event fits in each partition, so a reader that goes on
    /// from each page's `head` gets further with every call, however many topics there are, and
    /// none is left behind. The page that reaches to the end of a gap has its reset. Reads that go
    /// backwards share the bytes evenly; each brings one event at least.
    async fn history_within(&self, reads: Vec<Read>, bytes: usize) -> Result<Vec<Page>, Error>;

    /// Drops a topic's stored events. Cursors before them then get a reset. True if there were any; nodes with the topic
    /// get [`Delivery::Forgotten`] in any case.
    async fn forget(&self, topic: &Topic) -> Result<bool, Error>;

    /// The topics that the user's streams receive without asking.
    async fn memberships(&self, user: &Topic) -> Result<Vec<Topic>, Error> {
        let mut lists = self.memberships_of(std::slice::from_ref(user)).await?;
        lists.pop().ok_or_else(|| Error::Protocol("a list of memberships is missing".into()))
    }

    /// The same for several users: a list for each, in their order. One exchange with the store;
    /// the caller bounds how many it asks for, and with it the answer.
    async fn memberships_of(&self, users: &[Topic]) -> Result<Vec<Vec<Topic>>, Error>;

    /// Adds or removes a membership and tells the nodes that hold streams of the user. True if that changed anything;
    /// the nodes are told in any case. `user` is the user's own topic. One membership more than a
    /// user may have is [`Error::Memberships`], whoever adds others at the same time, and nobody is
    /// told.
    async fn set_membership(&self, user: &Topic, topic: &Topic, member: bool) -> Result<bool, Error>;

    /// Tells all nodes to close the user's streams. Returns how many nodes were told.
    async fn disconnect(&self, user: &Topic) -> Result<u32, Error>;

    /// A number that grows with every [`Broker::disconnect`] of each of `users`: whoever may have missed one compares it.
    ///
    /// Numbers may be lost, and then are lower than before. One that begins again is above all that
    /// the user had before. So a number that is not the known one may stand for a disconnect.
    async fn disconnects(&self, users: &[Topic]) -> Result<Vec<u64>, Error>;

    /// Whether publishing and receiving work right now.
    fn health(&self) -> Health;
}
