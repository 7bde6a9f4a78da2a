//! Opening a stream: subscribe, hold live events back, read history, merge, go live.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tidegate_protocol::{Cursor, Partition, Topic};

use super::CatchUp;
use super::history::Found;
use super::resume_plan::ResumePlan;
use super::watermark::{self, Reach};
use crate::change::Basis;
use crate::close_reason::CloseReason;
use crate::control_events::{self, ControlEvent, Ready};
use crate::item::Item;
use crate::join::{self, Join, Scope};
use crate::subscriber::{Detach, InitialBatch, Release, Subscriber, TopicState};

impl CatchUp {
    /// Opens a stream. When this returns, every event published from now on reaches it.
    pub(crate) async fn open(&self, subscriber: &Arc<Subscriber>, join: &Join) -> Result<(), join::Error> {
        if let Some(user) = &join.user {
            self.subscribers.attach_user(user, subscriber)?;
        }
        let options = self.subscribers.options();
        match tokio::time::timeout(options.join_timeout, self.open_attached(subscriber, join)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(join::Error::Unavailable(error.to_string())),
            Err(_) => return Err(join::Error::Unavailable(self.broker.health().detail)),
        }
        self.subscribers.metrics().joins.inc();
        subscriber.opened();
        Ok(())
    }

    async fn open_attached(
        &self,
        subscriber: &Arc<Subscriber>,
        join: &Join,
    ) -> Result<(), tidegate_broker::Error> {
        let mut topics = join.topics.clone();
        if join.scope == Scope::Own {
            topics.extend(join.user.clone());
        }
        self.subscribers.attach(subscriber, &topics, Basis::Request);
        let mut base = self.confirm(subscriber).await?;
        loop {
            let users = self.subscribers.users();
            if let Some(user) = &subscriber.user() {
                users.learn_disconnects(user).await?;
            }
            if let Some(user) = &subscriber.user().filter(|_| join.scope == Scope::Own) {
                // What is read below contains them.
                while subscriber.next_change().is_some() {}
                let memberships = users.memberships(user).await?;
                let known: HashSet<&Topic> = memberships.iter().collect();
                self.subscribers.detach(subscriber, Detach::Memberships, |topic| !known.contains(topic));
                if !self.subscribers.attach(subscriber, &memberships, Basis::Membership).is_empty() {
                    base = self.confirm(subscriber).await?;
                }
            }
            let topics = subscriber.topic_states();
            let plan = ResumePlan::new(&join.resume, &topics, &base);
            let limit = self.subscribers.options().replay_events;
            let mut found = self
                .history
                .gather(plan.reads(&topics, limit), |topic, position| {
                    base.get(topic.partition)
                        .is_some_and(|head| head.epoch == position.epoch && position.offset <= head.offset)
                })
                .await?;
            loop {
                let now = self.subscribers.clock().now();
                let released = subscriber.release(now, |batch, held| {
                    let reach = Reach {
                        seen: &self.seen,
                        base: &base,
                        cursor: batch.cursor(),
                        topics: &topics,
                        found: &found,
                        held,
                    };
                    let watermark = reach.watermark()?;
                    let begin = Begin { plan: plan.clone(), watermark, topics: &topics, subscriber, join };
                    self.begin(batch, std::mem::take(held), begin, std::mem::take(&mut found));
                    Ok(())
                });
                match released {
                    Release::Done => return Ok(()),
                    Release::Changed => break,
                    Release::Behind(behind) => self.history.read_on(&mut found, behind).await?,
                    Release::Lost => {
                        base = self.confirm(subscriber).await?;
                        break;
                    }
                }
            }
        }
    }

    /// Queues the beginning of the stream: ready, resets, what was missed in order.
    fn begin(&self, batch: &mut InitialBatch<'_>, held: Vec<Item>, begin: Begin<'_>, found: Found) {
        let Begin { mut plan, watermark, topics, subscriber, join } = begin;
        let mut items = Vec::new();
        let mut horizons: BTreeMap<Partition, u64> = BTreeMap::new();
        for (topic, page) in found {
            if let Some(reason) = page.reset {
                plan.reset(&topic, reason, page.head);
            }
            if let (true, Some(last)) = (page.more && !plan.backwards(), page.items.last()) {
                let horizon = horizons.entry(topic.partition).or_insert(u64::MAX);
                *horizon = (*horizon).min(last.event.mark.offset);
            }
            items.extend(page.items);
        }
        watermark::cut(&mut items, &watermark);
        items.extend(held);
        Item::sort(&mut items);
        let options = self.subscribers.options();
        items.retain(|item| !plan.is_past(item));
        let start = plan.start(&items);
        let topics: Vec<Topic> = topics.iter().map(|topic| topic.topic.clone()).collect();
        let connection = format!("{}-{:x}", options.node, subscriber.id);
        let user = join.user.as_ref().and_then(Topic::owner);
        let format = batch.format();
        let ready = Ready {
            retry: options.retry,
            id: &plan.ready(&start),
            connection: &connection,
            node: &options.node,
            user,
            topics: &topics,
        };
        batch.control(ControlEvent::Ready, control_events::ready(format, &ready));
        if let Some(greeting) = join.manner.as_ref().and_then(|manner| manner.greeting.as_ref()) {
            batch.control(ControlEvent::Greeting, control_events::greeting(format, greeting));
        }
        for (reason, topics) in &plan.resets {
            self.subscribers.metrics().resets.with_label_values(&[reason.as_str()]).inc();
            batch.control(ControlEvent::Reset, control_events::reset(format, &start, topics, *reason));
        }
        batch.begin_at(start);
        let mut bytes = 0;
        for item in items {
            let mark = &item.event.mark;
            bytes += item.event.data.as_bytes().len();
            let beyond = horizons.get(&mark.partition).is_some_and(|horizon| mark.offset > *horizon);
            // At least one goes out: the client would come back for it without end.
            if beyond || (bytes > options.replay_bytes && bytes > item.event.data.as_bytes().len()) {
                batch.close(CloseReason::Replay, options);
                return;
            }
            batch.item(&item, options);
            self.subscribers.metrics().replayed.inc();
        }
        if !horizons.is_empty() {
            batch.close(CloseReason::Replay, options);
        }
    }
}

/// What a stream begins with, besides events.
struct Begin<'a> {
    plan: ResumePlan,
    /// Up to where events go out now.
    watermark: Cursor,
    topics: &'a [Arc<TopicState>],
    subscriber: &'a Subscriber,
    join: &'a Join,
}
