//! Coming and going: the maps of topics and users.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_protocol::Topic;

use crate::Inner;
use crate::catch_up::Error;
use crate::subscriber::{Emitter, Leave, Seat};
use crate::topics::Channel;
use crate::users::User;
use crate::wheel::Tick;

impl Inner {
    /// Gives the emitter a seat at each topic that it has none at. Returns the channels of the new ones.
    pub(crate) fn attach(&self, emitter: &Arc<Emitter>, topics: &[Topic], asked: bool) -> Vec<Arc<Channel>> {
        let mut new = Vec::new();
        for topic in emitter.without_seat(topics, asked) {
            let (channel, key) =
                self.with_channel(topic, |channel| (Arc::clone(channel), channel.attach(emitter)));
            if emitter.seat(Seat { channel: Arc::clone(&channel), key, asked }) {
                new.push(channel);
            } else {
                self.detach(&channel, key);
            }
        }
        new
    }

    /// Takes a channel into use, and makes it first if there is none. Under the map's guard: the
    /// reaper takes away none that is in use.
    fn with_channel<T>(&self, topic: &Topic, into_use: impl FnOnce(&Arc<Channel>) -> T) -> T {
        let channel = self.channels.entry(topic.clone()).or_insert_with(|| {
            self.metrics.topics.inc();
            let partition = topic.partition(self.broker.partitions());
            Arc::new(Channel::new(topic.clone(), partition, Arc::clone(&self.ring_bytes)))
        });
        into_use(&channel)
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

    /// Counts the emitter among its user's, or says that there are too many. The node hears of the
    /// user from now on.
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
        let key = user.attach(emitter, if most == 0 { usize::MAX } else { most });
        drop(entry);
        let key = key.ok_or(Error::UserLimit(most))?;
        self.with_channel(topic, |channel| channel.hold());
        Ok((user, key))
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
        let Some((user, key)) = user else { return };
        if user.detach(key) && self.users.remove_if(&user.topic, |_, user| user.is_empty()).is_some() {
            self.metrics.users.dec();
        }
        let due = self.wheel.tick_in(self.options.linger);
        let channel = self.channels.get(&user.topic).map(|channel| Arc::clone(&channel));
        if channel.is_some_and(|channel| channel.release(due)) {
            self.lingering.lock().push_back((due, user.topic.clone()));
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
