//! After a time in which controls may have been missed: memberships and disconnects are read anew.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::Error;
use tidegate_protocol::Topic;

use crate::subscriber::{Change, Emitter, Leave};
use crate::users::User;
use crate::{Inner, Scope, control_events};

/// Users asked for in one exchange: no reply of megabytes.
const USERS: usize = 500;

/// Between attempts while the broker does not answer, doubled each time up to the second one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Does it after every gap, one at a time. Gaps that come meanwhile count as one more.
pub(crate) async fn run(hub: Arc<Inner>) {
    loop {
        hub.gap.notified().await;
        hub.resync().await;
    }
}

impl Inner {
    async fn resync(self: &Arc<Self>) {
        let users: Vec<Arc<User>> = self.users.iter().map(|user| Arc::clone(&user)).collect();
        for users in users.chunks(USERS) {
            let mut pause = PAUSE.0;
            // Not left for the next gap: a broker that is only slow says no other.
            while let Err(error) = self.resync_some(users).await {
                tracing::warn!(%error, "memberships and disconnects can't be read anew yet");
                tokio::time::sleep(Duration::from_millis(control_events::jittered(pause))).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    async fn resync_some(self: &Arc<Self>, users: &[Arc<User>]) -> Result<(), Error> {
        let topics: Vec<Topic> = users.iter().map(|user| user.topic.clone()).collect();
        let counts = self.broker.disconnects(&topics).await?;
        for (user, count) in users.iter().zip(counts) {
            if user.missed_disconnect(count) {
                user.all().iter().for_each(|emitter| self.close(emitter, Leave::Disconnected));
            } else {
                self.align(user).await?;
            }
        }
        Ok(())
    }

    /// Makes the streams of a user receive what the memberships say.
    async fn align(self: &Arc<Self>, user: &User) -> Result<(), Error> {
        loop {
            let before = *user.changes.lock();
            let members: HashSet<Topic> = self.broker.memberships(&user.topic).await?.into_iter().collect();
            let changes = user.changes.lock();
            // A change that was told since may be newer than what was read, and must not be undone. The next one waits for the lock.
            if *changes == before {
                user.all().iter().for_each(|emitter| self.align_one(emitter, &members));
                return Ok(());
            }
        }
    }

    fn align_one(self: &Arc<Self>, emitter: &Arc<Emitter>, members: &HashSet<Topic>) {
        let seats = emitter.topics();
        if emitter.scope != Scope::Own {
            let ended = seats.iter().any(|(topic, _)| !members.contains(topic));
            if emitter.scope == Scope::Membership && ended {
                self.close(emitter, Leave::Disconnected);
            }
            return;
        }
        let gone = seats.iter().filter(|(topic, asked)| !asked && !members.contains(topic));
        let gone: HashSet<Topic> = gone.map(|(topic, _)| topic.clone()).collect();
        if !gone.is_empty() {
            self.change(emitter, Change::Left(gone));
        }
        let has: HashSet<&Topic> = seats.iter().map(|(topic, _)| topic).collect();
        let new = members.iter().filter(|topic| !has.contains(topic));
        let new: Vec<_> = new.map(|topic| (topic.clone(), None)).collect();
        if !new.is_empty() {
            self.change(emitter, Change::Joined(new));
        }
    }
}
