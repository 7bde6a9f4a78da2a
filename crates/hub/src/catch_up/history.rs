//! Reading what a client missed: from the topic's recent events, else from the broker, else
//! together with others who read the same at this moment.
//!
//! All topics of a join share one budget. What fits goes out, in the order of offsets; where there
//! is more, the stream ends, and its client comes back for the rest.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tidegate_broker::{Broker, Error, PAGE_BYTES, Page, Read, Span};
use tidegate_protocol::{Position, Topic};
use tokio::time::Instant;

use super::found::{Found, History, cut, ready, recent};
use super::single_flight::SingleFlight;
use super::watermark::Behind;
use crate::history_memory::{Grant, HistoryMemory};
use crate::subscriber::{Subscribers, TopicState};

/// Topics whose last events are asked for in one exchange: each may bring an event of the largest
/// size.
const LAST: usize = 16;

/// What topics that are behind may bring, however little memory is free: it was published while the
/// join read.
const BEHIND_BYTES: usize = 64 << 10;

/// Reads history. A cheap handle.
#[derive(Clone)]
pub(super) struct HistoryReader {
    subscribers: Arc<Subscribers>,
    broker: Arc<dyn Broker>,
    single_flight: SingleFlight,
    memory: Arc<HistoryMemory>,
}

/// A join's part of the node's memory for history. It is asked for when the join first reads from
/// the broker.
pub(super) type Memory = Option<Arc<Grant>>;

impl HistoryReader {
    pub(super) fn new(
        subscribers: &Arc<Subscribers>,
        broker: &Arc<dyn Broker>,
        memory: &Arc<HistoryMemory>,
    ) -> Self {
        Self {
            subscribers: Arc::clone(subscribers),
            broker: Arc::clone(broker),
            single_flight: SingleFlight::default(),
            memory: Arc::clone(memory),
        }
    }

    /// Reads topics that the asking subscriber is attached to already. Together with what it holds
    /// back, nothing is missing, but where there is more.
    ///
    /// `known` tells whether a position is one that the node has passed: recent events must not
    /// answer for positions that only the store can judge.
    pub(super) async fn gather(
        &self,
        wanted: Vec<(Arc<TopicState>, Span)>,
        known: impl Fn(&TopicState, Position) -> bool,
        memory: &mut Memory,
    ) -> Result<Found, Error> {
        let (mut found, missing, joined) = loop {
            let (found, missing) = recent(&wanted, &known);
            let reads: Vec<Read> = missing.iter().map(|(topic, span)| read(topic, *span)).collect();
            // While others read all of it, nothing is waited for but them.
            if let Some(joined) = self.single_flight.join_all(&reads) {
                break (found, missing, joined);
            }
            let Some(grant) = &*memory else {
                *memory = Some(self.memory.grant().await);
                continue;
            };
            let joined = self.single_flight.join_or_start(&reads, |new| {
                let new = new.into_iter().map(|at| (Arc::clone(&missing[at].0), reads[at].clone()));
                self.clone().read_and_keep(new.collect(), Arc::clone(grant))
            });
            break (found, missing, joined);
        };
        self.count("ring", found.len());
        let started = joined.iter().filter(|joined| joined.started).count();
        self.count("broker", started);
        self.count("shared", joined.len() - started);
        let pages = join_all(joined.into_iter().map(|joined| async {
            let started = joined.started;
            joined.page().await.map(|page| (page, started))
        }));
        for ((topic, _), page) in missing.into_iter().zip(pages.await) {
            let (mut page, started) = page?;
            if !started && !page.more {
                // That read may have begun before this subscriber was attached: the recent events
                // have what came between, or the broker.
                match topic.after(page.head) {
                    Some(rest) => page.items.extend(rest),
                    None => page.more = true,
                }
            }
            found.push((topic, page));
        }
        self.fill(&mut found, memory).await?;
        Ok(found)
    }

    /// Reads on where topics are behind, so that all that was found belongs together.
    pub(super) async fn read_on(
        &self,
        found: &mut Found,
        behind: Behind,
        memory: &mut Memory,
    ) -> Result<(), Error> {
        let limit = self.subscribers.options().replay_events;
        let reads = behind.iter().map(|(topic, at)| read(topic, Span::After { position: *at, limit }));
        self.count("broker", behind.len());
        let grant = self.grant(memory).await;
        let room = grant.room(PAGE_BYTES).max(BEHIND_BYTES);
        let pages = self.ask(reads.collect(), room, &grant).await?;
        let index = found.iter().enumerate().map(|(n, (topic, _))| (topic.topic.clone(), n));
        let index: HashMap<Topic, usize> = index.collect();
        for ((topic, _), page) in behind.into_iter().zip(pages) {
            match index.get(&topic.topic).and_then(|n| found.get_mut(*n)) {
                Some((_, history)) => {
                    history.items.extend(page.items);
                    history.reset = history.reset.or(page.reset);
                    (history.head, history.more) = (page.head, page.more);
                }
                None => found.push((topic, page)),
            }
        }
        Ok(())
    }

    /// Reads, and keeps what is whole among the topics' recent events, for the next join.
    async fn read_and_keep(
        self,
        reads: Vec<(Arc<TopicState>, Read)>,
        grant: Arc<Grant>,
    ) -> Result<Vec<History>, Error> {
        let options = self.subscribers.options();
        let (after, last): (Vec<_>, Vec<_>) =
            reads.iter().partition(|(_, read)| matches!(read.span, Span::After { .. }));
        // A join asks for one kind, so their order stays.
        let mut found = Found::with_capacity(reads.len());
        for (chunk, rest) in chunks(&last) {
            let left = options.replay_bytes.saturating_sub(ready(&found).1);
            let room = (left / rest).min(PAGE_BYTES) * chunk.len();
            self.first(chunk, grant.room(room), &grant, &mut found).await?;
            cut(&mut found, options);
        }
        self.first(&after, grant.room(options.replay_bytes.min(PAGE_BYTES)), &grant, &mut found).await?;
        self.fill(&mut found, &mut Some(grant)).await?;
        for ((topic, read), (_, page)) in after.iter().zip(&found) {
            if let (Span::After { position, .. }, false, None) = (read.span, page.more, page.reset) {
                topic.backfill(position, page.head, &page.items, options);
            }
        }
        Ok(found.into_iter().map(|(_, history)| history).collect())
    }

    async fn first(
        &self,
        reads: &[&(Arc<TopicState>, Read)],
        room: usize,
        grant: &Grant,
        found: &mut Found,
    ) -> Result<(), Error> {
        if !reads.is_empty() {
            let pages = self.ask(reads.iter().map(|(_, read)| read.clone()).collect(), room, grant).await?;
            found.extend(reads.iter().map(|(topic, _)| Arc::clone(topic)).zip(pages));
        }
        Ok(())
    }

    /// Reads on where there is more, in the order of offsets, until what can go out fills the
    /// budget of a join.
    async fn fill(&self, found: &mut Found, memory: &mut Memory) -> Result<(), Error> {
        let options = self.subscribers.options();
        let mut stuck = vec![false; found.len()];
        // Over a slow link, too, what there is must go out before the join takes too long.
        let end = Instant::now() + options.join_timeout / 4;
        loop {
            let (events, bytes) = ready(found);
            let limit = options.replay_events.saturating_sub(events);
            let left = options.replay_bytes.saturating_sub(bytes);
            let open: Vec<usize> = (0..found.len()).filter(|at| found[*at].1.more && !stuck[*at]).collect();
            if open.is_empty() || limit == 0 || left == 0 {
                return Ok(());
            }
            let grant = self.grant(memory).await;
            let room = grant.room(left.min(PAGE_BYTES));
            if events > 0 && (room == 0 || Instant::now() > end) {
                // What there is gets the client further.
                return Ok(());
            }
            let after = |at: &usize| {
                let (topic, history) = &found[*at];
                read(topic, Span::After { position: history.head, limit })
            };
            let pages = self.ask(open.iter().map(after).collect(), room, &grant).await?;
            for (at, page) in open.into_iter().zip(pages) {
                stuck[at] = !found[at].1.extend(page);
            }
        }
    }

    async fn ask(&self, reads: Vec<Read>, room: usize, grant: &Grant) -> Result<Vec<History>, Error> {
        let spans: Vec<Span> = reads.iter().map(|read| read.span).collect();
        let pages = self.broker.history_within(reads, room).await?;
        if pages.len() != spans.len() {
            return Err(Error::Protocol("a page is missing".into()));
        }
        grant.took(pages.iter().map(Page::bytes).sum());
        Ok(pages.into_iter().zip(spans).map(|(page, span)| History::new(page, span)).collect())
    }

    async fn grant(&self, memory: &mut Memory) -> Arc<Grant> {
        match memory {
            Some(grant) => Arc::clone(grant),
            None => Arc::clone(memory.insert(self.memory.grant().await)),
        }
    }

    fn count(&self, source: &str, reads: usize) {
        self.subscribers.metrics().history_reads.with_label_values(&[source]).inc_by(reads as u64);
    }
}

/// Parts of what is to be read, each with the number of all that is left.
fn chunks<T>(all: &[T]) -> impl Iterator<Item = (&[T], usize)> {
    all.chunks(LAST).enumerate().map(|(n, chunk)| (chunk, all.len() - n * LAST))
}

fn read(topic: &TopicState, span: Span) -> Read {
    Read { topic: topic.topic.clone(), span }
}
