//! Coming and going: the maps of topics and users.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_protocol::Topic;

use crate::Inner;
use crate::channel::Channel;
use crate::emitter::{Emitter, Leave, Seat};
use crate::join::Error;
use crate::members::User;
use crate::wheel::Tick;

impl Inner {
    /// Gives the emitter a seat at each topic that it has none at. Returns the channels of the new ones.
    pub(crate) fn attach(&self, emitter: &Arc<Emitter>, topics: &[Topic], asked: bool) -> Vec<Arc<Channel>> {
        let mut new = Vec::new();
        for topic in topics {
            if emitter.has_seat(topic, asked) {
                continue;
            }
            // Attached under the map's guard: the reaper takes away none that has an emitter.
            let entry = self.channels.entry(topic.clone()).or_insert_with(|| {
                self.metrics.topics.inc();
                let partition = topic.partition(self.broker.partitions());
                Arc::new(Channel::new(topic.clone(), partition, Arc::clone(&self.ring_bytes)))
            });
            let channel = Arc::clone(&entry);
            let key = channel.attach(emitter);
            drop(entry);
            if emitter.seat(Seat { channel: Arc::clone(&channel), key, asked }) {
                new.push(channel);
            } else {
                self.detach(&channel, key);
            }
        }
        new
    }

    /// Takes a seat away; the last one starts the topic's lingering.
    pub(crate) fn detach(&self, channel: &Channel, key: usize) {
        let due = self.wheel.tick_in(self.options.linger);
        if channel.detach(key, due) {
            self.lingering.lock().push_back((due, channel.topic.clone()));
        }
    }

    /// Lets topics go that nobody came back to.
    pub(crate) fn reap(&self, now: Tick) {
        loop {
            let topic = {
                let mut lingering = self.lingering.lock();
                match lingering.front() {
                    Some((due, _)) if *due <= now => lingering.pop_front().map(|(_, topic)| topic),
                    _ => None,
                }
            };
            let Some(topic) = topic else { return };
            let gone = self.channels.remove_if(&topic, |topic, channel| {
                // Unsubscribed under the map's guard: whoever joins next subscribes after it, not before.
                let idle = channel.idle(now);
                if idle {
                    self.broker.unsubscribe(vec![topic.clone()]);
                }
                idle
            });
            if gone.is_some() {
                self.metrics.topics.dec();
            }
        }
    }

    /// Counts the emitter among its user's, or says that there are too many.
    pub(crate) fn attach_user(
        &self,
        topic: &Topic,
        emitter: &Arc<Emitter>,
    ) -> Result<(Arc<User>, usize), Error> {
        let entry = self.users.entry(topic.clone()).or_insert_with(|| {
            self.metrics.users.inc();
            Arc::new(User::new(topic.clone()))
        });
        let user = Arc::clone(&entry);
        let most = self.options.user_connections;
        user.attach(emitter, if most == 0 { usize::MAX } else { most })
            .map(|key| (user, key))
            .ok_or(Error::UserLimit(most))
    }

    /// Ends a stream and takes it out of every map at once: a client that does not take its goodbye holds nobody's place.
    pub(crate) fn close(&self, emitter: &Emitter, reason: Leave) {
        emitter.close(reason, &self.options);
        self.vacate(emitter);
    }

    /// Takes a stream that has ended out of every map.
    pub(crate) fn vacate(&self, emitter: &Emitter) {
        let (seats, user) = emitter.vacate();
        for seat in seats {
            self.detach(&seat.channel, seat.key);
        }
        if let Some((user, key)) = user
            && user.detach(key)
            && self.users.remove_if(&user.topic, |_, user| user.is_empty()).is_some()
        {
            self.metrics.users.dec();
        }
    }

    /// What follows when a stream's transport has let it go, or nobody waits for that any more.
    pub(crate) fn gone(&self, emitter: &Emitter) {
        let first = emitter.depart();
        self.vacate(emitter);
        let Some((reason, dropped)) = first else { return };
        self.live.fetch_sub(1, Ordering::Relaxed);
        let Some(reason) = reason else { return };
        self.metrics.leaves.with_label_values(&[reason.as_str()]).inc();
        if dropped > 0 {
            self.metrics.dropped.with_label_values(&[reason.as_str()]).inc_by(dropped as u64);
        }
    }
}
