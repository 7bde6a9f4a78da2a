use std::pin::Pin;
use std::task::{self, Context, ready};

use bytes::Bytes;
use tidegate_hub::{Batch, SubscriberHandle};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::permit::StreamPermit;

/// A client that waits for its next events: a long poll.
pub struct Poll {
    /// None once it was answered.
    waiting: Option<(SubscriberHandle, StreamPermit)>,
    /// Where the client is.
    since: String,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Poll {
    /// Of a client that has everything up to `since`.
    pub fn new(subscription: SubscriberHandle, permit: StreamPermit, since: String) -> Self {
        Self { waiting: Some((subscription, permit)), since, deadline: None }
    }

    /// The answer, if it need not wait.
    pub fn now(&mut self, wait: bool) -> Option<Bytes> {
        let mut cx = Context::from_waker(task::Waker::noop());
        match self.poll_answer(&mut cx, wait) {
            task::Poll::Ready(answer) => answer,
            task::Poll::Pending => None,
        }
    }

    /// Waits so long.
    pub(crate) fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(Box::pin(sleep_until(deadline))), ..self }
    }

    /// The whole answer, once.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>, wait: bool) -> task::Poll<Option<Bytes>> {
        let Some((subscription, _)) = &mut self.waiting else { return task::Poll::Ready(None) };
        let late = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        let batch = ready!(subscription.poll_batch(cx, wait && !late));
        self.waiting = None;
        task::Poll::Ready(Some(answer(&batch, &self.since)))
    }
}

fn answer(batch: &Batch, since: &str) -> Bytes {
    let cursor = batch.cursor.as_ref().map_or_else(|| since.to_owned(), ToString::to_string);
    let length: usize = batch.events.iter().map(|event| event.bytes.len() + 1).sum();
    let mut out = Vec::with_capacity(length + 64 + cursor.len());
    out.extend_from_slice(b"{\"cursor\":");
    // What the client said may be any text.
    out.extend_from_slice(serde_json::Value::from(cursor).to_string().as_bytes());
    out.extend_from_slice(b",\"events\":[");
    for (n, event) in batch.events.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&event.bytes);
    }
    out.extend_from_slice(format!("],\"reset\":{}}}\n", batch.reset).as_bytes());
    out.into()
}
