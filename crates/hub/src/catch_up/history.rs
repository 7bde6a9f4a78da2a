//! Reading what a client missed: from the topic's recent events, else from the broker, else
//! together with others who read the same at this moment.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tidegate_broker::{Broker, Error, Page, Read, ResetReason, Span};
use tidegate_protocol::{Position, Topic};

use super::single_flight::SingleFlight;
use super::watermark::Behind;
use crate::item::Item;
use crate::subscriber::{Subscribers, TopicState};

/// What was read of one topic.
#[derive(Clone)]
pub(crate) struct History {
    /// In order.
    pub(super) items: Vec<Item>,
    /// Why the position could not be continued.
    pub(super) reset: Option<ResetReason>,
    /// Everything of the topic up to here is in `items`, or came before them.
    pub(super) head: Position,
    /// There is more after `items`.
    pub(super) more: bool,
}

/// What was read of some topics.
pub(super) type Found = Vec<(Arc<TopicState>, History)>;

/// Reads history. A cheap handle.
#[derive(Clone)]
pub(super) struct HistoryReader {
    subscribers: Arc<Subscribers>,
    broker: Arc<dyn Broker>,
    single_flight: SingleFlight,
}

impl HistoryReader {
    pub(super) fn new(subscribers: &Arc<Subscribers>, broker: &Arc<dyn Broker>) -> Self {
        Self {
            subscribers: Arc::clone(subscribers),
            broker: Arc::clone(broker),
            single_flight: SingleFlight::default(),
        }
    }

    /// Reads topics that the asking subscriber is attached to already. Together with what it holds
    /// back, nothing is missing.
    ///
    /// `known` tells whether a position is one that the node has passed: recent events must not
    /// answer for positions that only the store can judge.
    pub(super) async fn gather(
        &self,
        wanted: Vec<(Arc<TopicState>, Span)>,
        known: impl Fn(&TopicState, Position) -> bool,
    ) -> Result<Found, Error> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for (topic, span) in wanted {
            let recent = match span {
                Span::After { position, .. } if known(&topic, position) => {
                    topic.after(position).map(|items| (items, position))
                }
                _ => None,
            };
            match recent {
                Some((items, head)) => {
                    self.count("ring", 1);
                    found.push((topic, History { items, reset: None, head, more: false }));
                }
                None => missing.push((topic, span)),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let reads: Vec<Read> = missing.iter().map(|(topic, span)| read(topic, *span)).collect();
        let joined = self.single_flight.join_or_start(&reads, |new| {
            let new = new.into_iter().map(|at| (Arc::clone(&missing[at].0), reads[at].clone()));
            self.clone().read_and_keep(new.collect())
        });
        let started = joined.iter().filter(|joined| joined.started).count();
        self.count("broker", started);
        self.count("shared", joined.len() - started);
        let pages = join_all(joined.into_iter().map(|joined| async {
            let started = joined.started;
            joined.page().await.map(|page| (page, started))
        }));
        let mut again = Vec::new();
        for ((topic, span), page) in missing.into_iter().zip(pages.await) {
            let (mut page, started) = page?;
            if !started {
                // That read may have begun before this subscriber was attached: the recent events
                // have what came between.
                let whole = !page.more || matches!(span, Span::Last { .. });
                let Some(rest) = topic.after(page.head).filter(|_| whole) else {
                    again.push((topic, span));
                    continue;
                };
                page.items.extend(rest);
            }
            found.push((topic, page));
        }
        if !again.is_empty() {
            let reads = again.iter().map(|(topic, span)| read(topic, *span)).collect();
            self.count("broker", again.len());
            let pages = self.read(reads).await?;
            found.extend(again.into_iter().map(|(topic, _)| topic).zip(pages));
        }
        Ok(found)
    }

    /// Reads on where topics are behind, so that all that was found belongs together.
    pub(super) async fn read_on(&self, found: &mut Found, behind: Behind) -> Result<(), Error> {
        let limit = self.subscribers.options().replay_events;
        let reads = behind.iter().map(|(topic, at)| read(topic, Span::After { position: *at, limit }));
        self.count("broker", behind.len());
        let pages = self.read(reads.collect()).await?;
        let index = found.iter().enumerate().map(|(n, (topic, _))| (topic.topic.clone(), n));
        let index: HashMap<Topic, usize> = index.collect();
        for ((topic, _), page) in behind.into_iter().zip(pages) {
            match index.get(&topic.topic).and_then(|n| found.get_mut(*n)) {
                Some((_, history)) => {
                    history.items.extend(page.items);
                    history.reset = history.reset.or(page.reset);
                    (history.head, history.more) = (page.head, history.more || page.more);
                }
                None => found.push((topic, page)),
            }
        }
        Ok(())
    }

    /// Reads, and keeps whole pages among the topics' recent events, for the next who asks.
    async fn read_and_keep(self, reads: Vec<(Arc<TopicState>, Read)>) -> Result<Vec<History>, Error> {
        let pages = self.read(reads.iter().map(|(_, read)| read.clone()).collect()).await?;
        for ((topic, read), page) in reads.iter().zip(&pages) {
            if let (Span::After { position, .. }, false, None) = (read.span, page.more, page.reset) {
                topic.backfill(position, page.head, &page.items, self.subscribers.options());
            }
        }
        Ok(pages)
    }

    /// Reads, and goes on where a page did not reach to the end, up to the limits of a replay.
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<History>, Error> {
        let pages = self.broker.history(reads.clone()).await?;
        let mut all: Vec<History> = pages.into_iter().map(History::from).collect();
        for (read, history) in reads.into_iter().zip(&mut all) {
            while let Some(next) = self.next_page(&read, history) {
                let page = self.broker.history(vec![next]).await?.pop();
                let page = page.ok_or_else(|| Error::Protocol("a page is missing".into()))?;
                if page.reset.is_some() {
                    // Trimmed between two pages: the client has to come back, and its next join
                    // finds the gap.
                    break;
                }
                history.items.extend(page.events.into_iter().map(Item::new));
                (history.head, history.more) = (page.head, page.more);
            }
        }
        Ok(all)
    }

    fn next_page(&self, read: &Read, history: &History) -> Option<Read> {
        let Span::After { limit, .. } = read.span else { return None };
        let bytes: usize = history.items.iter().map(|item| item.event.data.as_bytes().len()).sum();
        let left = limit.checked_sub(u32::try_from(history.items.len()).ok()?).filter(|left| *left > 0)?;
        let max_bytes = self.subscribers.options().replay_bytes;
        let last = history.items.last().filter(|_| history.more && bytes < max_bytes)?;
        let span = Span::After { position: last.event.mark.position(), limit: left };
        Some(Read { topic: read.topic.clone(), span })
    }

    fn count(&self, source: &str, reads: usize) {
        self.subscribers.metrics().history_reads.with_label_values(&[source]).inc_by(reads as u64);
    }
}

fn read(topic: &TopicState, span: Span) -> Read {
    Read { topic: topic.topic.clone(), span }
}

impl From<Page> for History {
    fn from(page: Page) -> Self {
        Self {
            items: page.events.into_iter().map(Item::new).collect(),
            reset: page.reset,
            head: page.head,
            more: page.more,
        }
    }
}
