//! Users: who has which streams here, and what changes while they are open.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use slab::Slab;
use tidegate_broker::{Control, Error, ResetReason, Span};
use tidegate_protocol::{Cursor, Position, Topic};

use crate::catch_up::Found;
use crate::catch_up::watermark;
use crate::control_events::Word;
use crate::item::Item;
use crate::subscriber::{Change, Emitter, Leave, Merge, Release};
use crate::topics::Channel;
use crate::{Inner, Scope, control_events};

/// A user's emitters on this node.
pub(crate) struct User {
    pub(crate) topic: Topic,
    emitters: Mutex<Slab<Arc<Emitter>>>,
    /// How often the user had been disconnected when the streams that are open now began: tells whether one was missed. `None`: not
    /// known, and no stream is open that began before.
    disconnects: Mutex<Option<u64>>,
    /// Changes of membership told so far. Whoever hands one on to the emitters holds the lock.
    pub(crate) changes: Mutex<u64>,
}

impl User {
    pub(crate) fn new(topic: Topic) -> Self {
        Self { topic, emitters: Mutex::default(), disconnects: Mutex::default(), changes: Mutex::default() }
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

    /// Whether there were more disconnects than heard of, `count` in all.
    pub(crate) fn missed_disconnect(&self, count: u64) -> bool {
        self.disconnects.lock().replace(count).is_some_and(|known| known < count)
    }

    /// Its streams now.
    pub(crate) fn all(&self) -> Vec<Arc<Emitter>> {
        self.emitters.lock().iter().map(|(_, emitter)| Arc::clone(emitter)).collect()
    }
}

impl Inner {
    /// Notes how often the user has been disconnected, before anything can be missed.
    pub(crate) async fn know(&self, user: &User) -> Result<(), Error> {
        if user.disconnects.lock().is_none() {
            let counts = self.broker.disconnects(std::slice::from_ref(&user.topic)).await?;
            user.disconnects.lock().get_or_insert(counts.first().copied().unwrap_or_default());
        }
        Ok(())
    }

    /// Does what a node was told about a user. Called from the dispatch loop, in the order of the partition.
    pub(crate) fn control(self: &Arc<Self>, user: &Topic, control: &Control) {
        let Some(user) = self.users.get(user).map(|user| Arc::clone(&user)) else { return };
        let change = match control.clone() {
            Control::Joined { topic, from } => Change::Joined(vec![(topic, from)]),
            Control::Left { topic } => Change::Left(HashSet::from([topic])),
            Control::Disconnect => {
                // Not counted on: this one may be in the number that was read already. The next stream reads it anew.
                *user.disconnects.lock() = None;
                user.all().iter().for_each(|emitter| self.close(emitter, Leave::Disconnected));
                return;
            }
        };
        let mut changes = user.changes.lock();
        *changes += 1;
        for emitter in user.all() {
            match (emitter.scope, &change) {
                (Scope::Own, _) => self.change(&emitter, change.clone()),
                (Scope::Membership, Change::Left(left))
                    if left.iter().any(|topic| emitter.has_seat(topic)) =>
                {
                    self.close(&emitter, Leave::Disconnected);
                }
                _ => {}
            }
        }
    }

    /// Changes what a stream receives. Live events wait while it catches up with a new topic, so nothing overtakes that.
    pub(crate) fn change(self: &Arc<Self>, emitter: &Arc<Emitter>, change: Change) {
        if let Change::Left(topics) = &change {
            // At once: what is dispatched from now on is not for the stream. And again if nobody is at a join or a change, for one that has
            // just ended may have attached it meanwhile; whoever is at one does it before going live.
            let unseat = || self.unseat_all(emitter, false, |seat| topics.contains(seat));
            unseat();
            if !emitter.note(change.clone()) {
                unseat();
            }
        } else if let Change::Dropped(topics) = &change {
            // In its turn: what the client wished before comes first.
            if !emitter.note(change.clone()) {
                self.unseat_all(emitter, true, |seat| topics.contains(seat));
                emitter.note_or_tell(change.clone(), self.wheel.now(), |format, cursor| {
                    control_events::topics(format, cursor, false, topics)
                });
            }
        } else if emitter.hold(change) {
            let (hub, emitter) = (Arc::clone(self), Arc::clone(emitter));
            // Short-lived: it has a time-out. After a panic the stream must not stay held.
            tokio::spawn(async move {
                let applied = AssertUnwindSafe(hub.apply(&emitter)).catch_unwind();
                let applied = tokio::time::timeout(hub.options.join_timeout, applied).await;
                if !matches!(applied, Ok(Ok(Ok(())))) {
                    // The client comes back with its cursor, and the join reads the memberships.
                    hub.close(&emitter, Leave::Unavailable);
                }
            });
        }
    }

    async fn apply(self: &Arc<Self>, emitter: &Arc<Emitter>) -> Result<(), Error> {
        let mut found: Vec<(Arc<Channel>, Found)> = Vec::new();
        let mut resets = Vec::new();
        let mut begins: Vec<(Topic, Position)> = Vec::new();
        let mut told = Vec::new();
        let mut base = Cursor::default();
        loop {
            while let Some(change) = emitter.next_change() {
                match change {
                    Change::Left(topics) => {
                        self.unseat_all(emitter, false, |seat| topics.contains(seat));
                        found.retain(|(channel, _)| !topics.contains(&channel.topic));
                        resets.retain(|(lost, _)| !topics.contains(lost));
                    }
                    Change::Joined(joined) => {
                        let topics: Vec<Topic> = joined.iter().map(|(topic, _)| topic.clone()).collect();
                        let since: HashMap<Topic, Option<Position>> = joined.into_iter().collect();
                        let new = self.attach(emitter, &topics, false);
                        if !new.is_empty() {
                            base = self.confirm(emitter).await?;
                        }
                        for channel in new {
                            let from = since.get(&channel.topic).copied().flatten();
                            let Some(page) = self.catch_up(emitter, &channel, from, &base).await? else {
                                continue;
                            };
                            whole(std::iter::once(&page))?;
                            // Nobody can tell since when it is a member: what came before the stream's place was missed.
                            let missed = from.is_none().then_some(ResetReason::Unknown);
                            resets
                                .extend(page.reset.or(missed).map(|reason| (channel.topic.clone(), reason)));
                            found.push((channel, page));
                        }
                    }
                    Change::Asked(topics) => {
                        let new = self.attach(emitter, &topics, true);
                        if !new.is_empty() {
                            base = self.confirm(emitter).await?;
                        }
                        for channel in new {
                            let head = base.get(channel.partition);
                            begins.extend(head.map(|head| (channel.topic.clone(), head)));
                            if let Some(page) = self.catch_up(emitter, &channel, head, &base).await? {
                                whole(std::iter::once(&page))?;
                                resets.extend(page.reset.map(|reason| (channel.topic.clone(), reason)));
                                found.push((channel, page));
                            }
                        }
                        told.push((true, topics));
                    }
                    Change::Dropped(topics) => {
                        self.unseat_all(emitter, true, |seat| topics.contains(seat));
                        // The word that they come no longer goes out before what was held back.
                        emitter.forgo(&topics);
                        found.retain(|(channel, _)| !topics.contains(&channel.topic));
                        resets.retain(|(lost, _)| !topics.contains(lost));
                        begins.retain(|(begun, _)| !topics.contains(begun));
                        told.push((false, topics));
                    }
                }
            }
            let channels = emitter.channels();
            let mut short = Vec::new();
            let released = emitter.release(self.wheel.now(), |merge, held| {
                match watermark::find(&self.seen, &base, merge.place(), &channels, &found, held) {
                    Ok(level) => {
                        for (added, topics) in &told {
                            let say = control_events::topics(merge.format(), merge.place(), *added, topics);
                            merge.say(Word::Topics, say);
                        }
                        // Stragglers from before: those between them and the beginning may never come.
                        held.retain(|item| !begins.iter().any(|begin| item.precedes(begin)));
                        self.add(merge, held, &level, std::mem::take(&mut found), &resets);
                    }
                    Err(behind) => short = behind,
                }
                short.is_empty()
            });
            match released {
                Release::Done => return Ok(()),
                Release::Changed => {}
                Release::Uneven => {
                    let lost =
                        |found: &[(_, Found)]| found.iter().filter(|(_, page)| page.reset.is_some()).count();
                    let known = lost(&found);
                    self.lengthen(&mut found, short).await?;
                    whole(found.iter().map(|(_, page)| page))?;
                    if lost(&found) > known {
                        return Err(Error::Unavailable("events were trimmed meanwhile".into()));
                    }
                }
                Release::Reset => return Err(Error::Unavailable("events were lost meanwhile".into())),
            }
        }
    }

    /// What a stream has missed of a topic that it receives from now on.
    async fn catch_up(
        self: &Arc<Self>,
        emitter: &Emitter,
        channel: &Arc<Channel>,
        from: Option<Position>,
        base: &Cursor,
    ) -> Result<Option<Found>, Error> {
        let partition = channel.partition;
        let Some(head) = base.get(partition) else { return Ok(None) };
        let place = emitter.cursor().get(partition).filter(|place| place.epoch == head.epoch);
        let from = from.or(place).unwrap_or(head);
        emitter.place(partition, if from.epoch == head.epoch { from } else { head });
        let known = |_: &Channel, at: Position| head.epoch == at.epoch && at.offset <= head.offset;
        let span = Span::After { position: from, limit: self.options.replay_events };
        let found = self.gather(vec![(Arc::clone(channel), span)], known).await?.pop();
        Ok(found.map(|(_, page)| page))
    }

    /// Queues what changes of membership have brought, among what was held back.
    fn add(
        &self,
        merge: &mut Merge<'_>,
        held: &mut Vec<Item>,
        level: &Cursor,
        found: Vec<(Arc<Channel>, Found)>,
        resets: &[(Topic, ResetReason)],
    ) {
        for (topic, reason) in resets {
            self.metrics.resets.with_label_values(&[reason.as_str()]).inc();
            merge.say(
                Word::Reset,
                control_events::reset(merge.format(), merge.place(), std::slice::from_ref(topic), *reason),
            );
        }
        let (mut items, mut new) = (Vec::new(), Vec::new());
        for (channel, page) in found {
            new.push(channel);
            items.extend(page.items);
        }
        watermark::cut(&mut items, level);
        items.append(held);
        Item::sort(&mut items);
        let place = merge.place().clone();
        for item in &items {
            let mark = &item.event.mark;
            // Others were sent past it already: it can't have its place in the order any more.
            let passed =
                mark.stored() && place.get(mark.partition).is_some_and(|at| mark.offset <= at.offset);
            if passed && new.iter().any(|channel| channel.topic == item.event.topic) {
                merge.late(item);
            } else {
                merge.item(item, &self.options);
            }
        }
    }

    /// Takes the emitter's seats away at the topics that `which` names: those that only memberships gave or, with `asked`, all.
    pub(crate) fn unseat_all(&self, emitter: &Emitter, asked: bool, which: impl Fn(&Topic) -> bool) {
        for seat in emitter.unseat(asked, which) {
            self.detach(&seat.channel, seat.key);
        }
    }
}

/// Whether a stream can go on with these pages. If not, its client comes back with its cursor, and the join says what is to be said.
fn whole<'a>(mut pages: impl Iterator<Item = &'a Found>) -> Result<(), Error> {
    let void = |page: &Found| {
        page.more
            || matches!(page.reset, Some(ResetReason::Epoch | ResetReason::Unknown | ResetReason::Malformed))
    };
    if pages.any(void) { Err(Error::Unavailable("too much was missed".into())) } else { Ok(()) }
}
