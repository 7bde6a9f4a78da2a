//! Reading what a client missed: from the topic's ring, else from the broker, else together with whoever reads the same just now.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dashmap::DashMap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use tidegate_broker::{Error, Page, Read, ResetReason, Span};
use tidegate_protocol::{Position, Topic};
use tokio::sync::oneshot;

use super::watermark::Short;
use crate::Inner;
use crate::item::Item;
use crate::topics::Channel;

/// Reads under way: the same read by many reconnecting clients runs once.
#[derive(Default)]
pub(crate) struct Flights(DashMap<Read, (Flight, usize)>);

type Flight = Shared<BoxFuture<'static, Result<Arc<Vec<Found>>, Error>>>;

/// What was found of one topic.
#[derive(Clone)]
pub(crate) struct Found {
    /// In order.
    pub(crate) items: Vec<Item>,
    /// Why the place could not be continued.
    pub(crate) reset: Option<ResetReason>,
    /// Everything of the topic up to here is in `items`, or came before them.
    pub(crate) head: Position,
    /// There is more after `items`.
    pub(crate) more: bool,
}

impl Inner {
    /// Reads for channels to which the asking emitter is attached already. Together with what the emitter holds back, nothing is missing.
    ///
    /// `known` tells whether a place is one that the node has passed: the ring must not answer for places that only the store can judge.
    pub(crate) async fn gather(
        self: &Arc<Self>,
        wishes: Vec<(Arc<Channel>, Span)>,
        known: impl Fn(&Channel, Position) -> bool,
    ) -> Result<Vec<(Arc<Channel>, Found)>, Error> {
        let mut found = Vec::with_capacity(wishes.len());
        let mut reads = Vec::new();
        for (channel, span) in wishes {
            let ring = match span {
                Span::After { position, .. } if known(&channel, position) => {
                    channel.after(position).map(|items| (items, position))
                }
                _ => None,
            };
            match ring {
                Some((items, head)) => {
                    self.metrics.history_reads.with_label_values(&["ring"]).inc();
                    found.push((channel, Found { items, reset: None, head, more: false }));
                }
                None => reads.push((channel, span)),
            }
        }
        if reads.is_empty() {
            return Ok(found);
        }
        let flights = self.board(&reads);
        let landed = join_all(flights.into_iter().map(|(flight, at, mine)| async move {
            flight.await.map(|pages| (pages.get(at).cloned(), mine))
        }));
        let mut again = Vec::new();
        for ((channel, span), landed) in reads.into_iter().zip(landed.await) {
            let (page, mine) = landed?;
            let mut page = page.ok_or_else(|| Error::Protocol("a page is missing".into()))?;
            if !mine {
                // Somebody else's read may have begun before this emitter was attached: the ring has what came between.
                let whole = !page.more || matches!(span, Span::Last { .. });
                let Some(rest) = channel.after(page.head).filter(|_| whole) else {
                    again.push((channel, span));
                    continue;
                };
                page.items.extend(rest);
            }
            found.push((channel, page));
        }
        if !again.is_empty() {
            let reads = again
                .iter()
                .map(|(channel, span)| Read { topic: channel.topic.clone(), span: *span })
                .collect();
            self.metrics.history_reads.with_label_values(&["broker"]).inc_by(again.len() as u64);
            let pages = self.read(reads).await?;
            found.extend(again.into_iter().map(|(channel, _)| channel).zip(pages));
        }
        Ok(found)
    }

    /// Reads what is missing of some topics, so that all that was found belongs together.
    pub(crate) async fn lengthen(
        &self,
        found: &mut Vec<(Arc<Channel>, Found)>,
        short: Short,
    ) -> Result<(), Error> {
        let limit = self.options.replay_events;
        let read = |(channel, position): &(Arc<Channel>, Position)| Read {
            topic: channel.topic.clone(),
            span: Span::After { position: *position, limit },
        };
        self.metrics.history_reads.with_label_values(&["broker"]).inc_by(short.len() as u64);
        let pages = self.read(short.iter().map(read).collect()).await?;
        let known = found.iter().enumerate().map(|(n, (channel, _))| (channel.topic.clone(), n));
        let known: HashMap<Topic, usize> = known.collect();
        for ((channel, _), page) in short.into_iter().zip(pages) {
            match known.get(&channel.topic).and_then(|n| found.get_mut(*n)) {
                Some((_, known)) => {
                    known.items.extend(page.items);
                    known.reset = known.reset.or(page.reset);
                    (known.head, known.more) = (page.head, known.more || page.more);
                }
                None => found.push((channel, page)),
            }
        }
        Ok(())
    }

    /// Joins the reads that are under way and starts the others in one go. True: started here.
    fn board(self: &Arc<Self>, reads: &[(Arc<Channel>, Span)]) -> Vec<(Flight, usize, bool)> {
        let key = |(channel, span): &(Arc<Channel>, Span)| Read { topic: channel.topic.clone(), span: *span };
        let boarded: Vec<_> = reads
            .iter()
            .map(|read| self.flights.0.get(&key(read)).map(|flight| flight.value().clone()))
            .collect();
        let new: Vec<usize> = (0..reads.len()).filter(|at| boarded[*at].is_none()).collect();
        let shared = (reads.len() - new.len()) as u64;
        self.metrics.history_reads.with_label_values(&["shared"]).inc_by(shared);
        self.metrics.history_reads.with_label_values(&["broker"]).inc_by(new.len() as u64);
        let flight = (!new.is_empty()).then(|| {
            let wishes: Vec<_> = new.iter().map(|at| (Arc::clone(&reads[*at].0), key(&reads[*at]))).collect();
            self.take_off(wishes)
        });
        let mut next = 0;
        boarded
            .into_iter()
            .filter_map(|boarded| match boarded {
                Some((flight, at)) => Some((flight, at, false)),
                None => {
                    next += 1;
                    flight.clone().map(|flight| (flight, next - 1, true))
                }
            })
            .collect()
    }

    /// A task of its own drives the read: it ends, and leaves the map, also when everybody who waited is gone.
    fn take_off(self: &Arc<Self>, wishes: Vec<(Arc<Channel>, Read)>) -> Flight {
        let (hub, flown) = (Arc::clone(self), wishes.clone());
        // Begins when the map has it: a read that is over before would stay there for ever.
        let (begin, begun) = oneshot::channel::<()>();
        // Short-lived: one read. After a panic it must leave the map, too: all who ask for the same
        // would share the failure.
        let task = tokio::spawn(async move {
            let _ = begun.await;
            let read = hub.read(flown.iter().map(|(_, read)| read.clone()).collect());
            let result = AssertUnwindSafe(read).catch_unwind().await;
            for (_, read) in &flown {
                hub.flights.0.remove(read);
            }
            let pages = result.map_err(|_| Error::Protocol("a read panicked".into()))??;
            for ((channel, read), page) in flown.iter().zip(&pages) {
                if let (Span::After { position, .. }, false, None) = (read.span, page.more, page.reset) {
                    channel.backfill(position, page.head, &page.items, &hub.options);
                }
            }
            Ok(Arc::new(pages))
        });
        let flight = async move {
            task.await.unwrap_or_else(|error| Err(Error::Protocol(format!("a read failed: {error}"))))
        }
        .boxed()
        .shared();
        for (at, (_, read)) in wishes.into_iter().enumerate() {
            self.flights.0.insert(read, (flight.clone(), at));
        }
        // Without a receiver the runtime is shutting down.
        let _ = begin.send(());
        flight
    }

    /// Reads, and goes on where a page did not reach to the end, up to the limits of a replay.
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<Found>, Error> {
        let pages = self.broker.history(reads.clone()).await?;
        let mut all: Vec<Found> = pages.into_iter().map(found).collect();
        for (read, found) in reads.into_iter().zip(&mut all) {
            while let Some(next) = self.next_page(&read, found) {
                let page = self.broker.history(vec![next]).await?.pop();
                let page = page.ok_or_else(|| Error::Protocol("a page is missing".into()))?;
                if page.reset.is_some() {
                    // Trimmed between two pages: the client is told to come back, and its join says so.
                    break;
                }
                found.items.extend(page.events.into_iter().map(Item::new));
                (found.head, found.more) = (page.head, page.more);
            }
        }
        Ok(all)
    }

    fn next_page(&self, read: &Read, found: &Found) -> Option<Read> {
        let Span::After { limit, .. } = read.span else { return None };
        let bytes: usize = found.items.iter().map(|item| item.event.data.as_bytes().len()).sum();
        let left = limit.checked_sub(u32::try_from(found.items.len()).ok()?).filter(|left| *left > 0)?;
        let last = found.items.last().filter(|_| found.more && bytes < self.options.replay_bytes)?;
        let span = Span::After { position: last.event.mark.position(), limit: left };
        Some(Read { topic: read.topic.clone(), span })
    }
}

fn found(page: Page) -> Found {
    Found {
        items: page.events.into_iter().map(Item::new).collect(),
        reset: page.reset,
        head: page.head,
        more: page.more,
    }
}
