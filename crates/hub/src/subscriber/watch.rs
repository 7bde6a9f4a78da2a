use std::sync::Arc;
use std::task::{Context, Poll};

use super::state::Phase;
use super::{Emitter, Subscription};

/// Tells when a stream is cut, to a transport whose library asks for bytes only while the client takes some.
#[derive(Clone)]
pub struct Watch(Arc<Emitter>);

impl Subscription {
    /// Watches for the cut. Holds no place: the subscription's end is the stream's.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.emitter))
    }
}

impl Watch {
    /// Ready when the stream was cut. To be polled by the task that polls the subscription: there is one waker for both.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        if matches!(state.phase, Phase::Closed(_, true)) {
            return Poll::Ready(());
        }
        state.park(cx);
        Poll::Pending
    }
}
