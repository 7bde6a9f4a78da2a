//! Opening a stream, and changing its topics: what was missed first, then live events.

mod change;
mod history;
mod opening;
mod resume_plan;
mod single_flight;
mod watermark;

use std::sync::Arc;

use tidegate_broker::{Broker, Error};
use tidegate_protocol::{Cursor, Topic};

use crate::dispatch::Seen;
use crate::subscriber::{Subscriber, Subscribers};
use history::HistoryReader;

/// Brings streams up to date.
pub(crate) struct CatchUp {
    subscribers: Arc<Subscribers>,
    seen: Arc<Seen>,
    broker: Arc<dyn Broker>,
    history: HistoryReader,
}

impl CatchUp {
    pub(crate) fn new(subscribers: &Arc<Subscribers>, seen: &Arc<Seen>, broker: Arc<dyn Broker>) -> Self {
        Self {
            subscribers: Arc::clone(subscribers),
            seen: Arc::clone(seen),
            history: HistoryReader::new(subscribers, &broker),
            broker,
        }
    }

    pub(crate) fn subscribers(&self) -> &Arc<Subscribers> {
        &self.subscribers
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Waits until the broker confirms all of a subscriber's topics. Returns where.
    async fn confirm(&self, subscriber: &Subscriber) -> Result<Cursor, Error> {
        let states = subscriber.topic_states();
        let mut topics: Vec<Topic> = states.iter().map(|state| state.topic.clone()).collect();
        // Whatever it carries: what changes for the user comes on the user's own topic.
        let own = subscriber.user().map(|user| user.topic.clone());
        topics.extend(own.filter(|own| !topics.contains(own)));
        if topics.is_empty() {
            return Ok(Cursor::default());
        }
        let confirmed = self.broker.subscribe(topics).await?;
        let mut base = Cursor::default();
        for state in states {
            if let Some(position) = confirmed.get(state.partition) {
                state.confirmed(position);
                base.set(state.partition, position);
            }
        }
        Ok(base)
    }
}
