//! The same read by many clients that come back runs once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tidegate_broker::{Error, Read};

use super::found::History;

/// The reads under way.
#[derive(Clone, Default)]
pub(super) struct SingleFlight {
    under_way: Arc<DashMap<Read, Entry>>,
    next: Arc<AtomicU64>,
}

/// Driven by those who wait for it: without them it ends where it is.
type Pages = BoxFuture<'static, Result<Arc<Vec<History>>, Error>>;

/// One of the pages that a flight brings.
struct Entry {
    /// Weak: the map does not wait.
    flight: WeakShared<Pages>,
    /// Which flight it is.
    number: u64,
    index: usize,
}

/// A read that is under way.
pub(super) struct Joined {
    flight: Shared<Pages>,
    index: usize,
    /// It was started by this call, so nothing of it is older.
    pub(super) started: bool,
}

/// Takes reads out of the map: when they are done, have failed, or no client waits any more.
struct Landing {
    under_way: Arc<DashMap<Read, Entry>>,
    reads: Vec<Read>,
    number: u64,
}

impl Joined {
    /// Its page.
    pub(super) async fn page(self) -> Result<History, Error> {
        let pages = self.flight.await?;
        pages.get(self.index).cloned().ok_or_else(|| Error::Protocol("a page is missing".into()))
    }
}

impl SingleFlight {
    /// Joins the reads, if all of them are under way.
    pub(super) fn join_all(&self, reads: &[Read]) -> Option<Vec<Joined>> {
        reads.iter().map(|read| self.join(read)).collect()
    }

    /// Joins those of the reads that are under way, and has `start` read the others in one go: it
    /// gets their indexes and returns their pages in the same order.
    pub(super) fn join_or_start<F>(&self, reads: &[Read], start: impl FnOnce(Vec<usize>) -> F) -> Vec<Joined>
    where
        F: Future<Output = Result<Vec<History>, Error>> + Send + 'static,
    {
        let joined: Vec<Option<Joined>> = reads.iter().map(|read| self.join(read)).collect();
        let new: Vec<usize> = (0..reads.len()).filter(|at| joined[*at].is_none()).collect();
        let mut started = Vec::new().into_iter();
        if !new.is_empty() {
            let fresh = new.iter().map(|at| reads[*at].clone()).collect();
            started = self.start(fresh, start(new)).into_iter();
        }
        joined.into_iter().filter_map(|joined| joined.or_else(|| started.next())).collect()
    }

    fn join(&self, read: &Read) -> Option<Joined> {
        // Nothing is dropped while the map is locked: a landing locks it, too.
        let (flight, index) = self.under_way.get(read).map(|entry| (entry.flight.upgrade(), entry.index))?;
        Some(Joined { flight: flight?, index, started: false })
    }

    fn start<F>(&self, reads: Vec<Read>, pages: F) -> Vec<Joined>
    where
        F: Future<Output = Result<Vec<History>, Error>> + Send + 'static,
    {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let landing = Landing { under_way: Arc::clone(&self.under_way), reads: reads.clone(), number };
        let flight = async move {
            let _landing = landing;
            // Those that wait share a panic as a failure; those that ask afterwards don't.
            let result = AssertUnwindSafe(pages).catch_unwind().await;
            result.map_err(|_| Error::Protocol("a read panicked".into()))?.map(Arc::new)
        };
        let flight = flight.boxed().shared();
        let share = |(index, read)| {
            if let Some(flight) = flight.downgrade() {
                self.under_way.insert(read, Entry { flight, number, index });
            }
            Joined { flight: flight.clone(), index, started: true }
        };
        reads.into_iter().enumerate().map(share).collect()
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        for read in &self.reads {
            self.under_way.remove_if(read, |_, entry| entry.number == self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tidegate_broker::Span;
    use tidegate_protocol::Topic;
    use tokio::sync::Notify;

    use super::*;

    fn read(name: &str) -> Read {
        Read { topic: Topic::parse(name).expect("valid"), span: Span::Last { limit: 1 } }
    }

    /// A read of two pages. Counts those that were asked for.
    async fn paged(turn: Arc<Notify>, asked: Arc<AtomicUsize>) -> Result<Vec<History>, Error> {
        for _ in 0..2 {
            asked.fetch_add(1, Ordering::Relaxed);
            turn.notified().await;
        }
        Ok(Vec::new())
    }

    #[tokio::test]
    async fn a_read_goes_on_for_those_who_wait_and_ends_without_them() {
        let flights = SingleFlight::default();
        let (turn, asked) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let start = |_| paged(Arc::clone(&turn), Arc::clone(&asked));
        let mut first = Box::pin(flights.join_or_start(&[read("topic:a")], start).remove(0).page());
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(flights.join_or_start(&[read("topic:a")], start).remove(0).page());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        turn.notify_one();
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(asked.load(Ordering::Relaxed), 2, "it went on for the second, and began once");
        drop(second);
        assert!(flights.under_way.is_empty() && flights.join_all(&[read("topic:a")]).is_none());

        let gone = Box::pin(flights.join_or_start(&[read("topic:a")], start).remove(0).page());
        drop(gone);
        assert!(flights.under_way.is_empty(), "not even begun");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
