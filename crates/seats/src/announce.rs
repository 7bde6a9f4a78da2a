//! From the outboxes to the streams.
//!
//! Publishing right after a change would lose the event of a node that dies in between, and two nodes could publish two changes of a seat in
//! the wrong order. So a change is in its schedule's outbox from the instant at which it is made, and anybody may empty an outbox, from
//! its first change on: publish it, then take it out.
//!
//! Two nodes that empty the same outbox do no harm. Each publishes a change only after all earlier
//! ones were published, by itself or by the node that took them out, and it publishes by version:
//! the broker refuses a version that is no newer than the topic's last one. So the first of the two
//! puts the change into its place, and the other finds it there. That holds however late the other
//! is: a node that stands still between reading a change and publishing it can't send an old state
//! after a newer one.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate_broker::{Publication, Retention};
use tidegate_protocol::{Data, EventName};
use tokio::time::timeout;

use crate::model::{Act, Change, millis};
use crate::place::Schedule;
use crate::store::{NOBODY, Version};
use crate::{Error, Seats};

/// How long a request waits for its change to be announced. The change is safe, and announced later if need be.
const PATIENCE: Duration = Duration::from_secs(2);

/// Seats and schedules that are cared for in one go, so that one node does not do it all.
const CHORES: usize = 1_000;

impl Seats {
    /// Announces the schedule's changes up to `version`, or leaves it to others.
    pub(crate) async fn announce(&self, schedule: &Schedule, version: Version) {
        match timeout(PATIENCE, self.empty(schedule, version)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%schedule, %error, "a change of a seat is announced later"),
            Err(_) => tracing::warn!(%schedule, "a change of a seat is announced later: it takes too long"),
        }
    }

    /// Publishes what is in the outbox up to `version`. Later changes are for those who made them.
    async fn empty(&self, schedule: &Schedule, version: Version) -> Result<(), String> {
        // Only so that the requests of this node don't all publish the same.
        let turn = BuildHasherDefault::<DefaultHasher>::default().hash_one(schedule) as usize;
        let _turn = self.turns[turn % self.turns.len()].lock().await;
        let name = EventName::parse("seatStatusChange").map_err(|error| error.to_string())?;
        let mut announced = 0;
        loop {
            let next = self.store.next(schedule, announced).await.map_err(|error| error.to_string())?;
            let Some((head, change)) = next.filter(|(head, _)| *head <= version) else { return Ok(()) };
            let publication = Publication {
                topic: schedule.topic().clone(),
                name: Some(name.clone()),
                data: Data::Json(self.told(&change)?.into()),
                at: millis(SystemTime::now()),
                // The topic's version is remembered as long as the schedule itself.
                retention: Retention { key_ttl: self.options.keep, ..self.options.retention },
                key: None,
            };
            let sent = self.broker.publish_version(publication, head).await;
            sent.map_err(|error| error.to_string())?;
            announced = head;
        }
    }

    /// A change as everybody may see it: its stream has no viewers of its own.
    fn told(&self, change: &str) -> Result<String, String> {
        let mut change: Change = serde_json::from_str(change).map_err(|error| error.to_string())?;
        change.seat = self.shown(change.seat, NOBODY);
        serde_json::to_string(&change).map_err(|error| error.to_string())
    }

    async fn care(&self) -> Result<(), crate::store::Error> {
        let chores = self.store.chores(CHORES).await?;
        let mut schedules = BTreeSet::from_iter(chores.waiting);
        for place in chores.due {
            // Another node may have been quicker: then there is nothing to change. Settling is
            // never refused.
            if let Err(Error::Store(error)) = self.change(&place, NOBODY, Act::Settle).await {
                tracing::debug!(?place, %error, "a hold that is over is settled later");
            }
            schedules.insert(place.schedule);
        }
        for schedule in &schedules {
            self.announce(schedule, Version::MAX).await;
        }
        Ok(())
    }
}

/// Makes held seats available when their time is over, and announces what dead nodes have left.
/// Runs on every node.
pub(crate) async fn sweep(seats: Arc<Seats>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = seats.care().await {
            tracing::debug!(%error, "asking the seats' store failed, will retry");
        }
    }
}
