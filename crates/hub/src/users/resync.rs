//! After a time in which control messages may have been missed: memberships and disconnects are
//! read again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_broker::Error;
use tidegate_protocol::Topic;

use super::{Streams, User, Users};
use crate::change::{Basis, Change};
use crate::clock::jittered;
use crate::close_reason::CloseReason;
use crate::join::Scope;

/// Users whose memberships are asked for in one exchange. A user has a few hundred bytes of them,
/// and at most some 200 kB: no answer is larger than a few megabytes.
const USERS: usize = 32;

/// Between attempts while the broker does not answer, doubled each time up to the second one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl<S> Users<S> {
    /// Reads them after every gap, one at a time. Gaps that come meanwhile count as one more.
    pub(crate) async fn resync<A>(self: Arc<Self>, streams: Arc<A>)
    where
        A: Streams<Stream = S>,
    {
        loop {
            self.gap.notified().await;
            self.resync_all(&streams).await;
        }
    }

    async fn resync_all<A: Streams<Stream = S>>(&self, streams: &Arc<A>) {
        let (gaps, partitions) = (self.gaps.swap(0, Ordering::Relaxed), self.broker.partitions());
        let missed = |user: &User<S>| gaps & (1 << user.topic.partition(partitions).index()) != 0;
        let users = self.users.iter().filter(|user| missed(user));
        let users: Vec<Arc<User<S>>> = users.map(|user| Arc::clone(&user)).collect();
        for users in users.chunks(USERS) {
            let mut pause = PAUSE.0;
            // Not left for the next gap: a broker that is only slow reports no other.
            while let Err(error) = self.resync_some(users, streams).await {
                tracing::warn!(%error, "re-reading memberships and disconnects failed, will retry");
                tokio::time::sleep(Duration::from_millis(jittered(pause))).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    async fn resync_some<A>(&self, users: &[Arc<User<S>>], streams: &Arc<A>) -> Result<(), Error>
    where
        A: Streams<Stream = S>,
    {
        let counts = self.broker.disconnects(&topics(users)).await?;
        let mut stay = Vec::with_capacity(users.len());
        for (user, count) in users.iter().zip(counts) {
            if user.missed_disconnect(count) {
                for stream in user.streams() {
                    streams.close(&stream, CloseReason::Disconnected);
                }
            } else {
                stay.push(Arc::clone(user));
            }
        }
        self.align(stay, streams).await
    }

    /// Makes the streams of users receive what the memberships say.
    async fn align<A>(&self, mut users: Vec<Arc<User<S>>>, streams: &Arc<A>) -> Result<(), Error>
    where
        A: Streams<Stream = S>,
    {
        while !users.is_empty() {
            let before: Vec<u64> = users.iter().map(|user| *user.changes()).collect();
            let lists = self.broker.memberships_of(&topics(&users)).await?;
            let mut again = Vec::new();
            for ((user, before), memberships) in users.into_iter().zip(before).zip(lists) {
                let memberships = memberships.into_iter().collect();
                let changes = user.changes();
                // A change received since may be newer than what was read, and must not be undone.
                // The next one waits for the lock.
                if *changes == before {
                    user.streams().iter().for_each(|stream| align_stream(streams, stream, &memberships));
                    continue;
                }
                drop(changes);
                again.push(user);
            }
            users = again;
        }
        Ok(())
    }
}

fn topics<S>(users: &[Arc<User<S>>]) -> Vec<Topic> {
    users.iter().map(|user| user.topic.clone()).collect()
}

fn align_stream<A: Streams>(streams: &Arc<A>, stream: &Arc<A::Stream>, memberships: &HashSet<Topic>) {
    let topics = A::topics(stream);
    match A::scope(stream) {
        Scope::Topics => {}
        Scope::Membership => {
            if topics.iter().any(|(topic, _)| !memberships.contains(topic)) {
                streams.close(stream, CloseReason::Disconnected);
            }
        }
        Scope::Own => {
            let left = topics
                .iter()
                .filter(|(topic, basis)| *basis == Basis::Membership && !memberships.contains(topic));
            let left: HashSet<Topic> = left.map(|(topic, _)| topic.clone()).collect();
            if !left.is_empty() {
                streams.change(stream, Change::Left(left));
            }
            let has: HashSet<&Topic> = topics.iter().map(|(topic, _)| topic).collect();
            let joined = memberships.iter().filter(|topic| !has.contains(topic));
            let joined: Vec<_> = joined.map(|topic| (topic.clone(), None)).collect();
            if !joined.is_empty() {
                streams.change(stream, Change::Joined(joined));
            }
        }
    }
}
