//! The body of a long poll's response.

use std::pin::Pin;
use std::task::{self, Context, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tidegate_hub::{Batch, Hub, Subscription};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::stream::Counted;

/// A client that waits for its next events.
pub(crate) struct Poll {
    /// None once it was answered.
    waiting: Option<(Subscription, Counted)>,
    hub: Hub,
    /// Where the client is.
    since: String,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Poll {
    pub(crate) fn new(subscription: Subscription, hub: Hub, counted: Counted, since: String) -> Self {
        Self { waiting: Some((subscription, counted)), hub, since, deadline: None }
    }

    /// The answer, if it need not wait.
    pub(crate) fn now(&mut self, wait: bool) -> Option<Bytes> {
        let mut cx = Context::from_waker(task::Waker::noop());
        match self.poll_answer(&mut cx, wait) {
            task::Poll::Ready(answer) => answer,
            task::Poll::Pending => None,
        }
    }

    /// Waits so long.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.deadline = Some(Box::pin(sleep_until(deadline)));
    }

    /// The whole answer, once.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>, wait: bool) -> task::Poll<Option<Bytes>> {
        let Some((subscription, _)) = &mut self.waiting else { return task::Poll::Ready(None) };
        let late = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        let batch = ready!(subscription.poll_batch(cx, wait && !late));
        self.waiting = None;
        for event in &batch.events {
            self.hub.metrics().sent(event.events, event.at);
        }
        task::Poll::Ready(Some(answer(&batch, &self.since)))
    }
}

impl Body for Poll {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let answer = ready!(self.poll_answer(cx, true));
        task::Poll::Ready(answer.map(|bytes| Ok(Frame::data(bytes))))
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
