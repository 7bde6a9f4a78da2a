//! The same read by many clients that come back runs once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dashmap::DashMap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tidegate_broker::{Error, Read};
use tokio::sync::oneshot;

use super::history::History;

/// The reads under way.
#[derive(Clone, Default)]
pub(super) struct SingleFlight {
    under_way: Arc<DashMap<Read, Share>>,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<Vec<History>>, Error>>>;

/// One of the pages that a flight brings.
#[derive(Clone)]
struct Share {
    flight: Flight,
    index: usize,
}

/// A read that is under way.
pub(super) struct Joined {
    share: Share,
    /// It was started by this call, so nothing of it is older.
    pub(super) started: bool,
}

impl Joined {
    /// Its page.
    pub(super) async fn page(self) -> Result<History, Error> {
        let pages = self.share.flight.await?;
        pages.get(self.share.index).cloned().ok_or_else(|| Error::Protocol("a page is missing".into()))
    }
}

impl SingleFlight {
    /// Joins those of the reads that are under way, and has `start` read the others in one go: it
    /// gets their indexes and returns their pages in the same order.
    pub(super) fn join_or_start<F>(&self, reads: &[Read], start: impl FnOnce(Vec<usize>) -> F) -> Vec<Joined>
    where
        F: Future<Output = Result<Vec<History>, Error>> + Send + 'static,
    {
        let joined: Vec<Option<Share>> =
            reads.iter().map(|read| self.under_way.get(read).map(|share| share.clone())).collect();
        let new: Vec<usize> = (0..reads.len()).filter(|at| joined[*at].is_none()).collect();
        let mut started = Vec::new().into_iter();
        if !new.is_empty() {
            let fresh = new.iter().map(|at| reads[*at].clone()).collect();
            started = self.start(fresh, start(new)).into_iter();
        }
        joined
            .into_iter()
            .filter_map(|joined| match joined {
                Some(share) => Some(Joined { share, started: false }),
                None => started.next().map(|share| Joined { share, started: true }),
            })
            .collect()
    }

    /// A task of its own drives the read: it ends, and leaves the map, also when all who waited are
    /// gone.
    fn start<F>(&self, reads: Vec<Read>, pages: F) -> Vec<Share>
    where
        F: Future<Output = Result<Vec<History>, Error>> + Send + 'static,
    {
        let (under_way, done) = (Arc::clone(&self.under_way), reads.clone());
        // Begins when the map has it: a read that is over before would stay there.
        let (begin, begun) = oneshot::channel::<()>();
        // Short-lived: one read. After a panic it must leave the map, too: all who ask for the same
        // would share the failure.
        let task = tokio::spawn(async move {
            let _ = begun.await;
            let result = AssertUnwindSafe(pages).catch_unwind().await;
            for read in &done {
                under_way.remove(read);
            }
            result.map_err(|_| Error::Protocol("a read panicked".into()))?.map(Arc::new)
        });
        let failed = |error| Err(Error::Protocol(format!("a read failed: {error}")));
        let flight = async move { task.await.unwrap_or_else(failed) }.boxed().shared();
        let share = |index| Share { flight: flight.clone(), index };
        let shares: Vec<Share> = (0..reads.len()).map(share).collect();
        for (read, share) in reads.into_iter().zip(&shares) {
            self.under_way.insert(read, share.clone());
        }
        // Without a receiver the runtime is shutting down.
        let _ = begin.send(());
        shares
    }
}
