//! Users: their streams on this node, and what changes for them while these are open.
//!
//! Owns the map of users, and of each the count of disconnects and the order of changes. What is
//! done to a stream is behind [`Streams`].

mod control;
mod resync;
mod user;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use dashmap::DashMap;
use prometheus::IntGauge;
use tidegate_broker::{Broker, Error};
use tidegate_protocol::{Partition, Topic};
use tokio::sync::Notify;

pub(crate) use user::User;

use crate::change::{Basis, Change};
use crate::close_reason::CloseReason;
use crate::join::{self, Scope};

/// The users with a stream on this node.
pub(crate) struct Users<S> {
    /// By the user's own topic.
    users: DashMap<Topic, Arc<User<S>>>,
    broker: Arc<dyn Broker>,
    /// Streams that one user may have; 0: any number.
    max_streams: usize,
    /// Control messages may have been missed: of these partitions, a bit each.
    gaps: AtomicU8,
    gap: Notify,
    connected: IntGauge,
}

/// A stream's slot among those of its user.
pub(crate) struct UserSlot<S> {
    pub(crate) user: Arc<User<S>>,
    key: usize,
}

/// What is done to a user's streams.
pub(crate) trait Streams: Send + Sync + 'static {
    /// One of them.
    type Stream: Send + Sync + 'static;

    /// What the stream carries of its user's.
    fn scope(stream: &Self::Stream) -> Scope;

    /// The topics that it receives, and why.
    fn topics(stream: &Self::Stream) -> Vec<(Topic, Basis)>;

    /// Changes what it receives.
    fn change(self: &Arc<Self>, stream: &Arc<Self::Stream>, change: Change);

    /// Ends it.
    fn close(&self, stream: &Self::Stream, reason: CloseReason);
}

impl<S> Users<S> {
    pub(crate) fn new(broker: Arc<dyn Broker>, max_streams: usize, connected: IntGauge) -> Self {
        let users = DashMap::with_shard_amount(64);
        Self { users, broker, max_streams, gaps: AtomicU8::new(0), gap: Notify::new(), connected }
    }

    /// Counts a stream among its user's, or refuses it because there are too many.
    pub(crate) fn attach(&self, own_topic: &Topic, stream: &Arc<S>) -> Result<UserSlot<S>, join::Error> {
        // Under the map's guard: the entry can't be removed before it has the stream.
        let entry = self.users.entry(own_topic.clone()).or_insert_with(|| {
            self.connected.inc();
            Arc::new(User::new(own_topic.clone()))
        });
        let limit = if self.max_streams == 0 { usize::MAX } else { self.max_streams };
        let key = entry.attach(stream, limit).ok_or(join::Error::UserLimit(self.max_streams))?;
        Ok(UserSlot { user: Arc::clone(&entry), key })
    }

    pub(crate) fn detach(&self, slot: &UserSlot<S>) {
        let last = slot.user.detach(slot.key);
        if last && self.users.remove_if(&slot.user.topic, |_, user| user.is_empty()).is_some() {
            self.connected.dec();
        }
    }

    /// Learns how often the user has been disconnected, unless that is known.
    pub(crate) async fn learn_disconnects(&self, user: &User<S>) -> Result<(), Error> {
        if !user.knows_disconnects() {
            let counts = self.broker.disconnects(std::slice::from_ref(&user.topic)).await?;
            user.learn_disconnects(counts.first().copied().unwrap_or_default());
        }
        Ok(())
    }

    /// The topics that the user is a member of.
    pub(crate) async fn memberships(&self, user: &User<S>) -> Result<Vec<Topic>, Error> {
        self.broker.memberships(&user.topic).await
    }

    /// Control messages of a partition's users may have been missed: [`Users::resync`] reads what
    /// they said.
    pub(crate) fn missed_controls(&self, partition: Partition) {
        self.gaps.fetch_or(1 << partition.index(), Ordering::Relaxed);
        self.gap.notify_one();
    }
}
