use std::collections::HashSet;

use futures_util::future::try_join;
use tidegate_broker::Error;
use tidegate_protocol::{Cursor, Position, Topic};

use super::machine::{Gathered, Run};
use super::resume_plan::ResumePlan;
use crate::change::Basis;
use crate::close_reason::CloseReason;
use crate::control_events::{self, ControlEvent, Ready};
use crate::item::Item;
use crate::join::{Join, Scope};
use crate::subscriber::{Detach, InitialBatch, Subscribers, TopicState};

/// A stream that begins.
pub(super) struct Opening<'a> {
    join: &'a Join,
    /// Made again whenever something is gathered.
    plan: ResumePlan,
    /// The stream's name, unique in the deployment.
    connection: String,
}

impl<'a> Opening<'a> {
    pub(super) fn new(join: &'a Join, connection: String) -> Self {
        Self { join, plan: ResumePlan::new(&join.resume, &[], &Cursor::default()), connection }
    }

    /// Attaches the memberships and reads what was missed of all topics.
    pub(super) async fn gather(&mut self, run: &mut Run<'_>) -> Result<(), Error> {
        self.ask_for_user(run).await?;
        let topics = run.subscriber.topic_states();
        self.plan = ResumePlan::new(&self.join.resume, &topics, &run.base);
        let reads = self.plan.reads(&topics, run.hub.subscribers.options().replay_events);
        // Read again from the beginning if it has been read before.
        run.found.clear();
        if let Some(grant) = &run.memory {
            grant.clear();
        }
        let base = &run.base;
        let known = |topic: &TopicState, position: Position| {
            base.get(topic.partition)
                .is_some_and(|head| head.epoch == position.epoch && position.offset <= head.offset)
        };
        run.found = run.hub.history.gather(reads, known, &mut run.memory).await?;
        Ok(())
    }

    /// Learns what has to be known of the stream's user, and attaches the memberships.
    async fn ask_for_user(&self, run: &mut Run<'_>) -> Result<(), Error> {
        let Some(user) = run.subscriber.user() else { return Ok(()) };
        let users = run.hub.subscribers.users();
        if self.join.scope != Scope::Own {
            return users.learn_disconnects(&user).await;
        }
        // What is read below contains them.
        while run.subscriber.next_change().is_some() {}
        // In one round trip. No order between the two is needed: the user's own topic was confirmed
        // before either is asked for, so from here on a disconnect or a change of membership is
        // received, or a gap is. After a gap the count is compared with the one learned here, which
        // is asked for as early as can be, and is known before the stream goes live.
        let (_, memberships) = try_join(users.learn_disconnects(&user), users.memberships(&user)).await?;
        let known: HashSet<&Topic> = memberships.iter().collect();
        let detach = Detach::Memberships;
        run.hub.subscribers.detach(run.subscriber, detach, |topic| !known.contains(topic));
        run.attach(&memberships, Basis::Membership).await?;
        Ok(())
    }

    /// Queues the initial batch: ready, resets, what was missed in order.
    pub(super) fn write(
        &mut self,
        subscribers: &Subscribers,
        batch: &mut InitialBatch<'_>,
        gathered: Gathered<'_>,
    ) {
        for (topic, history) in &gathered.found {
            self.plan.judged(topic, history.reset, history.head);
        }
        let more = !gathered.horizons.is_empty();
        let topics: Vec<Topic> = gathered.topics.iter().map(|topic| topic.topic.clone()).collect();
        let mut items = gathered.into_items();
        items.retain(|item| !self.plan.is_past(item));
        let start = self.plan.start(&items);
        self.write_control_events(subscribers, batch, &topics, &start);
        batch.begin_at(start);
        write_items(subscribers, batch, &items, more);
    }

    fn write_control_events(
        &self,
        subscribers: &Subscribers,
        batch: &mut InitialBatch<'_>,
        topics: &[Topic],
        start: &Cursor,
    ) {
        let (options, format) = (subscribers.options(), batch.format());
        let ready = Ready {
            retry: options.retry,
            id: &self.plan.ready(start),
            connection: &self.connection,
            node: &options.node,
            user: self.join.user.as_ref().and_then(Topic::owner),
            topics,
        };
        batch.control(ControlEvent::Ready, control_events::ready(format, &ready));
        if let Some(greeting) = self.join.overrides.as_ref().and_then(|overrides| overrides.greeting.as_ref())
        {
            batch.control(ControlEvent::Greeting, control_events::greeting(format, greeting));
        }
        for (reason, topics) in &self.plan.resets {
            subscribers.metrics().resets.with_label_values(&[reason.as_str()]).inc();
            batch.control(ControlEvent::Reset, control_events::reset(format, start, topics, *reason));
        }
    }
}

/// Queues what was missed, up to the limits of one replay. If there is more, the stream ends behind
/// it, and the client comes back for the rest.
fn write_items(subscribers: &Subscribers, batch: &mut InitialBatch<'_>, items: &[Item], more: bool) {
    let options = subscribers.options();
    let mut bytes = 0;
    for (at, item) in items.iter().enumerate() {
        bytes += item.event.data.as_bytes().len();
        // At least one goes out: the client would come back for it without end.
        if at > 0 && (bytes > options.replay_bytes || at >= options.replay_events as usize) {
            batch.close(CloseReason::Replay, options);
            return;
        }
        batch.item(item, options);
        subscribers.metrics().replayed.inc();
    }
    if more {
        batch.close(CloseReason::Replay, options);
    }
}
