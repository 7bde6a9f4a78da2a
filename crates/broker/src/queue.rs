//! Between the task that reads deliveries and the one that fans them out: bounded in bytes, emptied in one go.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Delivery;

/// Makes the queue. `limit` is in bytes of payload, with a flat charge for each delivery.
pub fn queue(limit: usize) -> (Feed, Deliveries) {
    let shared = Arc::new(Shared { state: Mutex::default(), ready: Notify::new(), limit });
    (Feed(Arc::clone(&shared)), Deliveries(shared))
}

/// The writing end. It never waits: a full queue is the writer's business.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

/// The reading end: there is one for each node, and the hub owns it.
pub struct Deliveries(Arc<Shared>);

/// The queue holds as much as it may. Nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deliveries wait for dispatch up to the limit")]
pub struct Full;

struct Shared {
    state: Mutex<State>,
    ready: Notify,
    limit: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Delivery>,
    bytes: usize,
    closed: bool,
}

impl Feed {
    /// Adds a delivery. Resets, gaps, places and deletions always fit: losing one would be silent.
    pub fn push(&self, delivery: Delivery) -> Result<(), Full> {
        self.push_all(std::iter::once(delivery))
    }

    /// Adds all of them, or none.
    pub fn push_all(&self, deliveries: impl Iterator<Item = Delivery> + Clone) -> Result<(), Full> {
        let (mut cost, mut bounded) = (0, false);
        for delivery in deliveries.clone() {
            cost += weight(&delivery);
            bounded |= matches!(delivery, Delivery::Event(_) | Delivery::Control { .. });
        }
        let mut state = self.0.state.lock();
        if bounded && state.bytes > 0 && state.bytes + cost > self.0.limit {
            return Err(Full);
        }
        state.bytes += cost;
        let was_empty = state.waiting.is_empty();
        state.waiting.extend(deliveries);
        let now_some = !state.waiting.is_empty();
        drop(state);
        if was_empty && now_some {
            self.0.ready.notify_one();
        }
        Ok(())
    }

    /// Ends the stream once what waits has been taken.
    pub fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.ready.notify_one();
    }
}

impl Deliveries {
    /// Waits for deliveries and takes all that are there, into an empty `batch`. False once the feed is closed and empty.
    pub async fn next(&mut self, batch: &mut VecDeque<Delivery>) -> bool {
        loop {
            let notified = self.0.ready.notified();
            {
                let mut state = self.0.state.lock();
                if !state.waiting.is_empty() {
                    std::mem::swap(&mut state.waiting, batch);
                    state.bytes = 0;
                    return true;
                }
                if state.closed {
                    return false;
                }
            }
            notified.await;
        }
    }
}

fn weight(delivery: &Delivery) -> usize {
    // 128: about what an Arc'd event costs besides its data.
    match delivery {
        Delivery::Event(event) => 128 + event.data.as_bytes().len(),
        _ => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn taken_in_one_go_and_bounded() {
        let (feed, mut deliveries) = queue(300);
        let (user, position) = (
            tidegate_protocol::Topic::user("a").expect("valid"),
            tidegate_protocol::Position { epoch: tidegate_protocol::Epoch::NONE, offset: 0 },
        );
        let partition = user.partition(1);
        assert_eq!(feed.push(Delivery::Gap(partition)), Ok(()));
        let control =
            Delivery::Control { user, seen: (partition, position), control: crate::Control::Disconnect };
        assert_eq!(feed.push(control.clone()), Ok(()));
        assert_eq!(feed.push(control), Err(Full));
        assert_eq!(feed.push(Delivery::Gap(partition)), Ok(()), "a gap always fits");
        let mut batch = VecDeque::new();
        assert!(deliveries.next(&mut batch).await);
        assert_eq!(batch.len(), 3);
        feed.close();
        batch.clear();
        assert!(!deliveries.next(&mut batch).await);
    }
}
