//! Opening a stream, and changing its topics: what was missed first, then live events.
//!
//! Both are one state machine, [`machine`]: opening is a change from nothing.

mod changes;
mod found;
mod history;
mod machine;
mod opening;
mod resume_plan;
mod single_flight;
mod watermark;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tidegate_broker::Broker;
use tidegate_protocol::Topic;

use changes::Changes;
use history::HistoryReader;
use machine::{Goal, Run};
use opening::Opening;

use crate::change::{Basis, Change};
use crate::close_reason::CloseReason;
use crate::control_events;
use crate::dispatch::Seen;
use crate::history_memory::HistoryMemory;
use crate::join::{Error, Join, Scope};
use crate::subscriber::{Detach, Hold, Subscriber, Subscribers};
use crate::users::Streams;

/// Brings streams up to date.
pub(crate) struct CatchUp {
    subscribers: Arc<Subscribers>,
    seen: Arc<Seen>,
    broker: Arc<dyn Broker>,
    history: HistoryReader,
}

impl CatchUp {
    pub(crate) fn new(
        subscribers: &Arc<Subscribers>,
        seen: &Arc<Seen>,
        memory: &Arc<HistoryMemory>,
        broker: Arc<dyn Broker>,
    ) -> Self {
        Self {
            subscribers: Arc::clone(subscribers),
            seen: Arc::clone(seen),
            history: HistoryReader::new(subscribers, &broker, memory),
            broker,
        }
    }

    pub(crate) fn subscribers(&self) -> &Arc<Subscribers> {
        &self.subscribers
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Opens a stream. When this returns, every event published from now on reaches it.
    pub(crate) async fn open(&self, subscriber: &Arc<Subscriber>, join: &Join) -> Result<(), Error> {
        if let Some(user) = &join.user {
            self.subscribers.attach_user(user, subscriber)?;
        }
        let mut topics = join.topics.clone();
        if join.scope == Scope::Own {
            topics.extend(join.user.clone());
        }
        self.subscribers.attach(subscriber, &topics, Basis::Request);
        let options = self.subscribers.options();
        let connection = format!("{}-{:x}", options.node, subscriber.id);
        let opened = Run::new(self, subscriber).until_live(Goal::Open(Opening::new(join, connection)));
        match tokio::time::timeout(options.join_timeout, opened).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Error::Unavailable(error.to_string())),
            Err(_) => return Err(Error::Unavailable(self.broker.health().detail)),
        }
        self.subscribers.metrics().joins.inc();
        subscriber.opened();
        Ok(())
    }

    /// Catches up with the changes that the subscriber holds.
    fn start(self: &Arc<Self>, subscriber: &Arc<Subscriber>) {
        let (hub, subscriber) = (Arc::clone(self), Arc::clone(subscriber));
        // Short-lived: it has a time-out. After a panic the stream must not stay held.
        tokio::spawn(async move {
            let changed = Run::new(&hub, &subscriber).until_live(Goal::Change(Changes::default()));
            let changed = AssertUnwindSafe(changed).catch_unwind();
            let changed = tokio::time::timeout(hub.subscribers.options().join_timeout, changed).await;
            if !matches!(changed, Ok(Ok(Ok(())))) {
                // The client comes back with its cursor, and the join reads the memberships.
                hub.subscribers.close(&subscriber, CloseReason::Unavailable);
            }
        });
    }
}

impl Streams for CatchUp {
    type Stream = Subscriber;

    fn scope(stream: &Subscriber) -> Scope {
        stream.scope
    }

    fn topics(stream: &Subscriber) -> Vec<(Topic, Basis)> {
        stream.topics()
    }

    /// Live events wait while the stream catches up with a new topic, so nothing overtakes that.
    fn change(self: &Arc<Self>, subscriber: &Arc<Subscriber>, change: Change) {
        match &change {
            Change::Left(topics) => {
                // At once: what is dispatched from now on is not for the stream. And again if no
                // catch-up is under way, for one that has just ended may have attached it
                // meanwhile; one that is under way does it before going live.
                let detach = || {
                    self.subscribers.detach(subscriber, Detach::Memberships, |topic| topics.contains(topic));
                };
                detach();
                if !subscriber.queue_change(change.clone()) {
                    detach();
                }
            }
            Change::Unsubscribe(topics) => {
                // In its turn: what the client asked for before comes first.
                if !subscriber.queue_change(change.clone()) {
                    self.subscribers.detach(subscriber, Detach::All, |topic| topics.contains(topic));
                    let now = self.subscribers.clock().now();
                    subscriber.queue_or_announce(change.clone(), now, |format, cursor| {
                        control_events::unsubscribed(format, cursor, topics)
                    });
                }
            }
            Change::Joined(_) | Change::Subscribe(_) => {
                if subscriber.hold(change) == Hold::Started {
                    self.start(subscriber);
                }
            }
        }
    }

    fn close(&self, stream: &Subscriber, reason: CloseReason) {
        self.subscribers.close(stream, reason);
    }
}
