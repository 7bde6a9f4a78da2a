//! Users: who has which streams here, and what changes while they are open.

use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;
use tidegate_broker::{Control, Span};
use tidegate_protocol::{Position, Topic};

use crate::channel::Channel;
use crate::emitter::{Emitter, Leave, Release};
use crate::item::Item;
use crate::{Inner, blocks};

/// A user's emitters on this node.
pub(crate) struct User {
    pub(crate) topic: Topic,
    emitters: Mutex<Slab<Arc<Emitter>>>,
    /// How often the user had been disconnected when last heard: tells whether one was missed.
    disconnects: Mutex<Option<u64>>,
}

impl User {
    pub(crate) fn new(topic: Topic) -> Self {
        Self { topic, emitters: Mutex::default(), disconnects: Mutex::default() }
    }

    pub(crate) fn attach(&self, emitter: &Arc<Emitter>, most: usize) -> Option<usize> {
        let mut emitters = self.emitters.lock();
        (emitters.len() < most).then(|| emitters.insert(Arc::clone(emitter)))
    }

    /// True if it was the last.
    pub(crate) fn detach(&self, key: usize) -> bool {
        let mut emitters = self.emitters.lock();
        let gone = emitters.try_remove(key);
        let last = emitters.is_empty();
        drop(emitters);
        drop(gone);
        last
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.emitters.lock().is_empty()
    }

    fn all(&self) -> Vec<Arc<Emitter>> {
        self.emitters.lock().iter().map(|(_, emitter)| Arc::clone(emitter)).collect()
    }
}

impl Inner {
    /// Notes how often the user has been disconnected, before anything can be missed.
    pub(crate) async fn know(&self, user: &User) -> Result<(), tidegate_broker::Error> {
        if user.disconnects.lock().is_none() {
            let counts = self.broker.disconnects(std::slice::from_ref(&user.topic)).await?;
            user.disconnects.lock().get_or_insert(counts.first().copied().unwrap_or_default());
        }
        Ok(())
    }

    /// Does what a node was told about a user. Called from the dispatch loop, in the order of the partition.
    pub(crate) fn control(self: &Arc<Self>, user: &Topic, control: &Control) {
        let Some(user) = self.users.get(user).map(|user| Arc::clone(&user)) else { return };
        if *control == Control::Disconnect
            && let Some(count) = &mut *user.disconnects.lock()
        {
            *count += 1;
        }
        for emitter in user.all() {
            match control {
                Control::Disconnect => emitter.close(Leave::Disconnected, &self.options),
                change => self.change(&emitter, change.clone()),
            }
        }
    }

    /// Changes what a stream receives. Live events wait meanwhile, so nothing overtakes what the new topic has to catch up.
    fn change(self: &Arc<Self>, emitter: &Arc<Emitter>, change: Control) {
        if emitter.hold(change) {
            let (hub, emitter) = (Arc::clone(self), Arc::clone(emitter));
            tokio::spawn(async move {
                let applied = tokio::time::timeout(hub.options.join_timeout, hub.apply(&emitter)).await;
                if !matches!(applied, Ok(Ok(()))) {
                    // The client comes back with its cursor, and the join reads the memberships.
                    emitter.close(Leave::Unavailable, &hub.options);
                }
            });
        }
    }

    async fn apply(self: &Arc<Self>, emitter: &Arc<Emitter>) -> Result<(), tidegate_broker::Error> {
        let (mut caught_up, mut resets) = (Vec::new(), Vec::new());
        loop {
            while let Some(change) = emitter.next_change() {
                match change {
                    Control::Left { topic } => {
                        self.unseat_all(emitter, |seat| *seat == topic);
                        caught_up.retain(|item: &Item| item.event.topic != topic);
                    }
                    Control::Joined { topic, from } => {
                        for channel in self.attach(emitter, &[topic], false) {
                            let (items, reset) = self.catch_up(emitter, channel, from).await?;
                            caught_up.extend(items);
                            resets.extend(reset);
                        }
                    }
                    Control::Disconnect => {}
                }
            }
            let released = emitter.release(self.wheel.now(), |merge, held| {
                for (topic, reason) in &resets {
                    merge.block(blocks::reset(merge.place(), std::slice::from_ref(topic), *reason));
                }
                let place = merge.place().clone();
                let (late, mut items): (Vec<Item>, Vec<Item>) =
                    std::mem::take(&mut caught_up).into_iter().partition(|item| {
                        place
                            .get(item.event.mark.partition)
                            .is_some_and(|place| item.event.mark.offset <= place.offset)
                    });
                late.iter().for_each(|item| merge.late(item));
                items.extend(held);
                Item::sort(&mut items);
                items.iter().for_each(|item| merge.item(item, &self.options));
            });
            match released {
                Release::Done => return Ok(()),
                Release::Changed => {}
                Release::Reset => {
                    return Err(tidegate_broker::Error::Unavailable("events were lost meanwhile".into()));
                }
            }
        }
    }

    /// What a stream has missed of a topic that it receives from now on.
    async fn catch_up(
        self: &Arc<Self>,
        emitter: &Arc<Emitter>,
        channel: Arc<Channel>,
        from: Option<Position>,
    ) -> Result<(Vec<Item>, Option<(Topic, tidegate_broker::ResetReason)>), tidegate_broker::Error> {
        let base = self.confirm(emitter).await?;
        let partition = channel.partition;
        let Some(from) = from.or_else(|| emitter.cursor().get(partition)).or_else(|| base.get(partition))
        else {
            return Ok((Vec::new(), None));
        };
        emitter.place(partition, from);
        let known = |_: &Channel, at: Position| {
            base.get(partition).is_some_and(|head| head.epoch == at.epoch && at.offset <= head.offset)
        };
        let span = Span::After { position: from, limit: self.options.replay_events };
        let found = self.gather(vec![(Arc::clone(&channel), span)], known).await?;
        let mut all = (Vec::new(), None);
        for (channel, page) in found {
            all.0.extend(page.items);
            all.1 = page.reset.map(|reason| (channel.topic.clone(), reason));
        }
        Ok(all)
    }

    /// Takes the emitter's membership seats away at the topics that `which` names.
    pub(crate) fn unseat_all(&self, emitter: &Emitter, which: impl Fn(&Topic) -> bool) {
        for (topic, asked) in emitter.topics() {
            if !asked
                && which(&topic)
                && let Some(seat) = emitter.unseat(&topic)
            {
                self.detach(&seat.channel, seat.key);
            }
        }
    }

    /// Controls may have been missed: reads the memberships and disconnects of every user here.
    pub(crate) async fn resync(self: Arc<Self>) {
        let users: Vec<Arc<User>> = self.users.iter().map(|user| Arc::clone(&user)).collect();
        // 500 at a time: one exchange each, and no reply of megabytes.
        for users in users.chunks(500) {
            let topics: Vec<Topic> = users.iter().map(|user| user.topic.clone()).collect();
            let Ok(counts) = self.broker.disconnects(&topics).await else { return };
            for (user, count) in users.iter().zip(counts) {
                let known = user.disconnects.lock().replace(count);
                if known.is_some_and(|known| known < count) {
                    user.all().iter().for_each(|emitter| emitter.close(Leave::Disconnected, &self.options));
                    continue;
                }
                // A failure means that the broker is away again: the next gap comes here again.
                let Ok(members) = self.broker.memberships(&user.topic).await else { return };
                for emitter in user.all() {
                    self.align(&emitter, &members);
                }
            }
        }
    }

    fn align(self: &Arc<Self>, emitter: &Arc<Emitter>, members: &[Topic]) {
        let seats = emitter.topics();
        for (topic, asked) in &seats {
            if !asked && !members.contains(topic) {
                self.change(emitter, Control::Left { topic: topic.clone() });
            }
        }
        for topic in members {
            if !seats.iter().any(|(seat, _)| seat == topic) {
                self.change(emitter, Control::Joined { topic: topic.clone(), from: None });
            }
        }
    }
}
