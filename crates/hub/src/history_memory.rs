//! Memory for stored events on their way from the broker into outboxes and answers: one budget for
//! all joins and requests of the node.

use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_broker::PAGE_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// What the memory is counted in.
const UNIT: usize = 1 << 10;

/// The node's budget, in bytes of events' data.
///
/// A reader waits for one page while it holds nothing, in the order of asking. For more it never
/// waits: it uses what is free, and its client comes back for the rest. So readers that hold memory
/// always finish.
pub(crate) struct HistoryMemory {
    free: Arc<Semaphore>,
    page: usize,
    metrics: Metrics,
}

/// One reader's part of the budget.
pub(crate) struct Grant {
    memory: Arc<HistoryMemory>,
    state: Mutex<State>,
}

struct State {
    permit: OwnedSemaphorePermit,
    used: usize,
}

impl HistoryMemory {
    pub(crate) fn new(bytes: usize, metrics: Metrics) -> Arc<Self> {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        let page = units.min(PAGE_BYTES / UNIT);
        Arc::new(Self { free: Arc::new(Semaphore::new(units)), page, metrics })
    }

    /// Waits until there is room for a page.
    pub(crate) async fn grant(self: &Arc<Self>) -> Arc<Grant> {
        // A page is far below 4 GiB.
        let page = self.page as u32;
        let permit = match Arc::clone(&self.free).try_acquire_many_owned(page) {
            Ok(permit) => permit,
            Err(_) => {
                self.metrics.history_waits.inc();
                match Arc::clone(&self.free).acquire_many_owned(page).await {
                    Ok(permit) => permit,
                    // Never closed.
                    Err(_) => std::future::pending().await,
                }
            }
        };
        self.metrics.history_bytes.add(bytes_of(&permit));
        Arc::new(Grant { memory: Arc::clone(self), state: Mutex::new(State { permit, used: 0 }) })
    }
}

impl Grant {
    /// How much of `wanted` may be read now: what is granted, and what else is free.
    pub(crate) fn room(&self, wanted: usize) -> usize {
        let mut state = self.state.lock();
        let missing =
            (state.used.saturating_add(wanted)).div_ceil(UNIT).saturating_sub(state.permit.num_permits());
        if let Ok(missing) = u32::try_from(missing)
            && missing > 0
            && let Ok(more) = Arc::clone(&self.memory.free).try_acquire_many_owned(missing)
        {
            self.memory.metrics.history_bytes.add(bytes_of(&more));
            state.permit.merge(more);
        }
        (state.permit.num_permits() * UNIT).saturating_sub(state.used).min(wanted)
    }

    /// So much was read. What is over goes back, but for a page.
    pub(crate) fn took(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.used += bytes;
        let over = state.permit.num_permits().saturating_sub(state.used.div_ceil(UNIT).max(self.memory.page));
        if let Some(over) = state.permit.split(over) {
            self.memory.metrics.history_bytes.sub(bytes_of(&over));
        }
    }

    /// What was read is needed no longer.
    pub(crate) fn clear(&self) {
        self.state.lock().used = 0;
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.memory.metrics.history_bytes.sub(bytes_of(&self.state.get_mut().permit));
    }
}

fn bytes_of(permit: &OwnedSemaphorePermit) -> i64 {
    i64::try_from(permit.num_permits() * UNIT).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use prometheus::Registry;

    use super::*;

    #[tokio::test]
    async fn a_reader_waits_with_nothing_and_never_for_more() {
        let metrics = Metrics::new(&Registry::new()).expect("fresh");
        let memory = HistoryMemory::new(5 * PAGE_BYTES / 2, metrics.clone());
        let first = memory.grant().await;
        assert_eq!(first.room(2 * PAGE_BYTES), 2 * PAGE_BYTES);
        first.took(2 * PAGE_BYTES);
        assert_eq!(first.room(PAGE_BYTES), 0, "not all of it is free: none is taken");
        assert_eq!(first.room(1_000), 1_000);
        let mut second = std::pin::pin!(memory.grant());
        assert!(second.as_mut().now_or_never().is_none());
        let mut third = std::pin::pin!(memory.grant());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!((first.room(100 << 10), metrics.history_waits.get()), (UNIT, 2), "others wait");
        drop(first);
        let second = second.await;
        assert_eq!(second.room(2 * PAGE_BYTES), PAGE_BYTES, "the third is served");
        let third = third.await;
        assert_eq!(metrics.history_bytes.get(), 2 * PAGE_BYTES as i64);
        drop((second, third));
        assert_eq!(metrics.history_bytes.get(), 0);
    }
}
