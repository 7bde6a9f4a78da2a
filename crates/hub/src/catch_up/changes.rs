use std::collections::HashMap;
use std::sync::Arc;

use tidegate_broker::{Error, ResetReason, Span};
use tidegate_protocol::{Position, Topic};

use super::found::{Found, History};
use super::machine::{Gathered, Run};
use crate::change::{Basis, Change};
use crate::control_events::{self, ControlEvent};
use crate::subscriber::{Detach, InitialBatch, Subscribers, TopicState};

/// The changes of an open stream that are under way.
#[derive(Default)]
pub(super) struct Changes {
    /// In the order in which the client asked.
    announcements: Vec<Announcement>,
    resets: Vec<(Topic, ResetReason)>,
    /// Where the topics begin that the client asked for.
    begins: Vec<(Topic, Position)>,
    /// What was read, to be read again should another epoch begin.
    reads: Vec<(Arc<TopicState>, Option<Position>, Option<ResetReason>)>,
}

/// What the client gets when a change that it asked for has been made.
enum Announcement {
    Subscribed(Vec<Topic>),
    Unsubscribed(Vec<Topic>),
}

impl Changes {
    /// Applies the changes that have arrived, and reads what was missed of new topics.
    pub(super) async fn gather(&mut self, run: &mut Run<'_>) -> Result<(), Error> {
        while let Some(change) = run.subscriber.next_change() {
            match change {
                Change::Joined(joined) => self.join(run, joined).await?,
                Change::Subscribe(topics) => self.subscribe(run, topics).await?,
                Change::Left(topics) => self.leave(run, Detach::Memberships, |topic| topics.contains(topic)),
                Change::Unsubscribe(topics) => {
                    self.leave(run, Detach::All, |topic| topics.contains(topic));
                    // `tidegate:unsubscribed` goes out before what was held back.
                    run.subscriber.drop_held(&topics);
                    self.begins.retain(|(begun, _)| !topics.contains(begun));
                    self.announcements.push(Announcement::Unsubscribed(topics));
                }
            }
        }
        Ok(())
    }

    async fn join(&mut self, run: &mut Run<'_>, joined: Vec<(Topic, Option<Position>)>) -> Result<(), Error> {
        let topics: Vec<Topic> = joined.iter().map(|(topic, _)| topic.clone()).collect();
        let since: HashMap<Topic, Option<Position>> = joined.into_iter().collect();
        for topic in run.attach(&topics, Basis::Membership).await? {
            let from = since.get(&topic.topic).copied().flatten();
            // If it is not known since when it is a member: what came before the stream's position
            // was missed.
            let missed = from.is_none().then_some(ResetReason::Unknown);
            self.read(run, topic, from, missed).await?;
        }
        Ok(())
    }

    async fn subscribe(&mut self, run: &mut Run<'_>, topics: Vec<Topic>) -> Result<(), Error> {
        for topic in run.attach(&topics, Basis::Request).await? {
            let head = run.base.get(topic.partition);
            self.begins.extend(head.map(|head| (topic.topic.clone(), head)));
            self.read(run, topic, head, None).await?;
        }
        self.announcements.push(Announcement::Subscribed(topics));
        Ok(())
    }

    /// Another epoch has begun: everything is read again, and has names of that one then.
    pub(super) async fn read_again(&mut self, run: &mut Run<'_>) -> Result<(), Error> {
        run.found.clear();
        self.resets.clear();
        for (topic, begin) in &mut self.begins {
            let reads = self.reads.iter().find(|(state, ..)| state.topic == *topic);
            let base = reads.and_then(|(state, ..)| run.base.get(state.partition));
            begin.epoch = base.map_or(begin.epoch, |base| base.epoch);
        }
        for (topic, from, missed) in std::mem::take(&mut self.reads) {
            self.read(run, topic, from, missed).await?;
        }
        Ok(())
    }

    fn leave(&mut self, run: &mut Run<'_>, detach: Detach, which: impl Fn(&Topic) -> bool) {
        run.hub.subscribers.detach(run.subscriber, detach, &which);
        run.found.retain(|(topic, _)| !which(&topic.topic));
        self.resets.retain(|(topic, _)| !which(topic));
        self.reads.retain(|(topic, ..)| !which(&topic.topic));
    }

    /// Reads what the stream has missed of a new topic `from` there or, without that, from where
    /// the stream stands in the topic's partition. `missed`: what it has missed all the same.
    async fn read(
        &mut self,
        run: &mut Run<'_>,
        topic: Arc<TopicState>,
        from: Option<Position>,
        missed: Option<ResetReason>,
    ) -> Result<(), Error> {
        self.reads.push((Arc::clone(&topic), from, missed));
        let partition = topic.partition;
        let Some(head) = run.base.get(partition) else { return Ok(()) };
        let stands = run.subscriber.cursor().get(partition).filter(|stands| stands.epoch == head.epoch);
        let from = from.or(stands).unwrap_or(head);
        run.subscriber.begin_at(partition, if from.epoch == head.epoch { from } else { head });
        let known = |_: &TopicState, at: Position| head.epoch == at.epoch && at.offset <= head.offset;
        let limit = run.hub.subscribers.options().replay_events;
        let span = Span::After { position: from, limit };
        for (topic, history) in run.hub.history.gather(vec![(topic, span)], known, &mut run.memory).await? {
            check_whole(&history)?;
            self.resets.extend(history.reset.or(missed).map(|reason| (topic.topic.clone(), reason)));
            run.found.push((topic, history));
        }
        Ok(())
    }

    /// Whether the stream can go on after topics were read on.
    pub(super) fn check(&self, found: &Found) -> Result<(), Error> {
        for (topic, history) in found {
            check_whole(history)?;
            let known = |reason| self.resets.iter().any(|(of, known)| *of == topic.topic && *known == reason);
            if history.reset.is_some_and(|reason| !known(reason)) {
                return Err(Error::Unavailable("events were trimmed meanwhile".into()));
            }
        }
        Ok(())
    }

    /// Queues what the changes have brought, among what was held back.
    pub(super) fn write(
        &mut self,
        subscribers: &Subscribers,
        batch: &mut InitialBatch<'_>,
        gathered: Gathered<'_>,
    ) {
        let format = batch.format();
        for announcement in &self.announcements {
            let bytes = match announcement {
                Announcement::Subscribed(topics) => {
                    control_events::subscribed(format, batch.cursor(), topics)
                }
                Announcement::Unsubscribed(topics) => {
                    control_events::unsubscribed(format, batch.cursor(), topics)
                }
            };
            batch.control(ControlEvent::Topics, bytes);
        }
        for (topic, reason) in &self.resets {
            subscribers.metrics().resets.with_label_values(&[reason.as_str()]).inc();
            let topics = std::slice::from_ref(topic);
            batch
                .control(ControlEvent::Reset, control_events::reset(format, batch.cursor(), topics, *reason));
        }
        let new: Vec<Topic> = gathered.found.iter().map(|(topic, _)| topic.topic.clone()).collect();
        let stands = batch.cursor().clone();
        for item in gathered.into_items() {
            // A straggler from before the topic begins: those between the two may never come.
            if self.begins.iter().any(|begin| item.precedes(begin)) {
                continue;
            }
            let mark = &item.event.mark;
            // The stream was sent past it already: it can't have its place in the order any more.
            let passed =
                mark.stored() && stands.get(mark.partition).is_some_and(|at| mark.offset <= at.offset);
            if passed && new.contains(&item.event.topic) {
                batch.late_item(&item);
            } else {
                batch.item(&item, subscribers.options());
            }
        }
    }
}

/// Whether a stream can go on with this page. If not, its client comes back with its cursor, and
/// its next join sends the resets.
fn check_whole(history: &History) -> Result<(), Error> {
    if history.more || history.reset.is_some_and(ResetReason::is_void) {
        return Err(Error::Unavailable("too much was missed".into()));
    }
    Ok(())
}
