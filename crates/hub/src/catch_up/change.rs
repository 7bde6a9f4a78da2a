//! Changing what an open stream receives.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tidegate_broker::{Error, ResetReason, Span};
use tidegate_protocol::{Cursor, Position, Topic};

use super::CatchUp;
use super::history::{Found, History};
use super::watermark::{self, Reach};
use crate::change::{Basis, Change};
use crate::close_reason::CloseReason;
use crate::control_events::{self, ControlEvent};
use crate::item::Item;
use crate::join::Scope;
use crate::subscriber::{Detach, Hold, InitialBatch, Release, Subscriber, TopicState};
use crate::users::Streams;

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
                // catch-up is under way, for one that has just ended may have attached it meanwhile;
                // one that is under way does it before going live.
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

impl CatchUp {
    fn start(self: &Arc<Self>, subscriber: &Arc<Subscriber>) {
        let (hub, subscriber) = (Arc::clone(self), Arc::clone(subscriber));
        // Short-lived: it has a time-out. After a panic the stream must not stay held.
        tokio::spawn(async move {
            let applied = AssertUnwindSafe(hub.apply(&subscriber)).catch_unwind();
            let applied = tokio::time::timeout(hub.subscribers.options().join_timeout, applied).await;
            if !matches!(applied, Ok(Ok(Ok(())))) {
                // The client comes back with its cursor, and the join reads the memberships.
                hub.subscribers.close(&subscriber, CloseReason::Unavailable);
            }
        });
    }

    async fn apply(&self, subscriber: &Arc<Subscriber>) -> Result<(), Error> {
        let mut found: Found = Vec::new();
        let mut resets = Vec::new();
        let mut begins: Vec<(Topic, Position)> = Vec::new();
        let mut announced = Vec::new();
        let mut base = Cursor::default();
        loop {
            while let Some(change) = subscriber.next_change() {
                match change {
                    Change::Left(topics) => {
                        self.subscribers
                            .detach(subscriber, Detach::Memberships, |topic| topics.contains(topic));
                        found.retain(|(topic, _)| !topics.contains(&topic.topic));
                        resets.retain(|(lost, _)| !topics.contains(lost));
                    }
                    Change::Joined(joined) => {
                        let topics: Vec<Topic> = joined.iter().map(|(topic, _)| topic.clone()).collect();
                        let since: HashMap<Topic, Option<Position>> = joined.into_iter().collect();
                        let new = self.subscribers.attach(subscriber, &topics, Basis::Membership);
                        if !new.is_empty() {
                            base = self.confirm(subscriber).await?;
                        }
                        for topic in new {
                            let from = since.get(&topic.topic).copied().flatten();
                            let Some(page) = self.missed(subscriber, &topic, from, &base).await? else {
                                continue;
                            };
                            whole(std::iter::once(&page))?;
                            // Since when it is a member is not known: what came before the stream's
                            // position was missed.
                            let missed = from.is_none().then_some(ResetReason::Unknown);
                            resets.extend(page.reset.or(missed).map(|reason| (topic.topic.clone(), reason)));
                            found.push((topic, page));
                        }
                    }
                    Change::Subscribe(topics) => {
                        let new = self.subscribers.attach(subscriber, &topics, Basis::Request);
                        if !new.is_empty() {
                            base = self.confirm(subscriber).await?;
                        }
                        for topic in new {
                            let head = base.get(topic.partition);
                            begins.extend(head.map(|head| (topic.topic.clone(), head)));
                            if let Some(page) = self.missed(subscriber, &topic, head, &base).await? {
                                whole(std::iter::once(&page))?;
                                resets.extend(page.reset.map(|reason| (topic.topic.clone(), reason)));
                                found.push((topic, page));
                            }
                        }
                        announced.push((true, topics));
                    }
                    Change::Unsubscribe(topics) => {
                        self.subscribers.detach(subscriber, Detach::All, |topic| topics.contains(topic));
                        // `tidegate:unsubscribed` goes out before what was held back.
                        subscriber.drop_held(&topics);
                        found.retain(|(topic, _)| !topics.contains(&topic.topic));
                        resets.retain(|(lost, _)| !topics.contains(lost));
                        begins.retain(|(begun, _)| !topics.contains(begun));
                        announced.push((false, topics));
                    }
                }
            }
            let topics = subscriber.topic_states();
            let released = subscriber.release(self.subscribers.clock().now(), |batch, held| {
                let reach = Reach {
                    seen: &self.seen,
                    base: &base,
                    cursor: batch.cursor(),
                    topics: &topics,
                    found: &found,
                    held,
                };
                let watermark = reach.watermark()?;
                for (added, topics) in &announced {
                    let format = batch.format();
                    let event =
                        if *added { control_events::subscribed } else { control_events::unsubscribed };
                    let event = event(format, batch.cursor(), topics);
                    batch.control(ControlEvent::Topics, event);
                }
                // Stragglers from before: those between them and the beginning may never come.
                held.retain(|item| !begins.iter().any(|begin| item.precedes(begin)));
                self.add(batch, held, &watermark, std::mem::take(&mut found), &resets);
                Ok(())
            });
            match released {
                Release::Done => return Ok(()),
                Release::Changed => {}
                Release::Behind(behind) => {
                    let lost = |found: &Found| found.iter().filter(|(_, page)| page.reset.is_some()).count();
                    let known = lost(&found);
                    self.history.read_on(&mut found, behind).await?;
                    whole(found.iter().map(|(_, page)| page))?;
                    if lost(&found) > known {
                        return Err(Error::Unavailable("events were trimmed meanwhile".into()));
                    }
                }
                Release::Lost => return Err(Error::Unavailable("events were lost meanwhile".into())),
            }
        }
    }

    /// What a stream has missed of a topic that it receives from now on.
    async fn missed(
        &self,
        subscriber: &Subscriber,
        topic: &Arc<TopicState>,
        from: Option<Position>,
        base: &Cursor,
    ) -> Result<Option<History>, Error> {
        let partition = topic.partition;
        let Some(head) = base.get(partition) else { return Ok(None) };
        let stands = subscriber.cursor().get(partition).filter(|stands| stands.epoch == head.epoch);
        let from = from.or(stands).unwrap_or(head);
        subscriber.begin_at(partition, if from.epoch == head.epoch { from } else { head });
        let known = |_: &TopicState, at: Position| head.epoch == at.epoch && at.offset <= head.offset;
        let span = Span::After { position: from, limit: self.subscribers.options().replay_events };
        let found = self.history.gather(vec![(Arc::clone(topic), span)], known).await?.pop();
        Ok(found.map(|(_, page)| page))
    }

    /// Queues what changes of membership have brought, among what was held back.
    fn add(
        &self,
        batch: &mut InitialBatch<'_>,
        held: &mut Vec<Item>,
        watermark: &Cursor,
        found: Found,
        resets: &[(Topic, ResetReason)],
    ) {
        for (topic, reason) in resets {
            self.subscribers.metrics().resets.with_label_values(&[reason.as_str()]).inc();
            let topics = std::slice::from_ref(topic);
            let reset = control_events::reset(batch.format(), batch.cursor(), topics, *reason);
            batch.control(ControlEvent::Reset, reset);
        }
        let (mut items, mut new) = (Vec::new(), Vec::new());
        for (topic, page) in found {
            new.push(topic);
            items.extend(page.items);
        }
        watermark::cut(&mut items, watermark);
        items.append(held);
        Item::sort(&mut items);
        let stands = batch.cursor().clone();
        for item in &items {
            let mark = &item.event.mark;
            // Others were sent past it already: it can't have its place in the order any more.
            let passed =
                mark.stored() && stands.get(mark.partition).is_some_and(|at| mark.offset <= at.offset);
            if passed && new.iter().any(|topic| topic.topic == item.event.topic) {
                batch.late_item(item);
            } else {
                batch.item(item, self.subscribers.options());
            }
        }
    }
}

/// Whether a stream can go on with these pages. If not, its client comes back with its cursor, and its
/// next join sends the resets.
fn whole<'a>(mut pages: impl Iterator<Item = &'a History>) -> Result<(), Error> {
    let void = |page: &History| {
        page.more
            || matches!(page.reset, Some(ResetReason::Epoch | ResetReason::Unknown | ResetReason::Malformed))
    };
    if pages.any(void) { Err(Error::Unavailable("too much was missed".into())) } else { Ok(()) }
}
