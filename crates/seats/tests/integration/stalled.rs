//! A store in front of a node that stands still just after it has read an outbox.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_seats::model::{Change, Millis, Seat, Sight};
use tidegate_seats::store::{Chores, Error, Store, Version};
use tidegate_seats::{Place, Schedule};
use tokio::sync::Notify;

#[derive(Clone, Default)]
pub(crate) struct Stalled {
    reached: Arc<Notify>,
    go_on: Arc<Notify>,
}

struct Between {
    store: Arc<dyn Store>,
    stalled: Stalled,
}

impl Stalled {
    pub(crate) fn around(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Between { store, stalled: self.clone() })
    }

    /// The node has read the first of an outbox.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn go_on(&self) {
        self.go_on.notify_one();
    }
}

#[async_trait]
impl Store for Between {
    async fn changed(&self, schedule: &Schedule) -> Result<(Vec<Seat>, Millis), Error> {
        self.store.changed(schedule).await
    }

    async fn look(&self, place: &Place, user: &str) -> Result<Sight, Error> {
        self.store.look(place, user).await
    }

    async fn write(
        &self,
        place: &Place,
        user: &str,
        sight: &Sight,
        change: &Change,
    ) -> Result<Option<Version>, Error> {
        self.store.write(place, user, sight, change).await
    }

    async fn next(
        &self,
        schedule: &Schedule,
        announced: Version,
    ) -> Result<Option<(Version, String)>, Error> {
        let next = self.store.next(schedule, announced).await?;
        if announced == 0 && next.is_some() {
            self.stalled.reached.notify_one();
            self.stalled.go_on.notified().await;
        }
        Ok(next)
    }

    async fn chores(&self, most: usize) -> Result<Chores, Error> {
        self.store.chores(most).await
    }
}
