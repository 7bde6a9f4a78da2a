//! A long poll that waits: the body of its response or, on HTTP/1.1, a task of its own.
//!
//! A waiting client costs as little as a stream: its connection leaves hyper once the head has been sent, and is given back when the answer has
//! been written.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Context, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tidegate_hub::{Batch, Hub, Subscription};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::io::{Control, Socket};
use crate::stream::Counted;
use crate::wire::{Client, Framing, Line};

/// A client that waits for its next events.
pub(crate) struct Poll {
    /// None once it was answered.
    waiting: Option<(Subscription, Counted)>,
    hub: Hub,
    /// Where the client is.
    since: String,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// The body of the response to a poll that waits.
pub(crate) struct Waiting {
    /// None: the driver has it.
    poll: Option<Poll>,
    connection: Option<Arc<Control>>,
    /// Whether to leave it for the connection's driver when it is asked for its answer, by which
    /// time the head is on its way, and the request has been read to its end.
    leaves: bool,
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

    /// Waits so long, outside of hyper if it `leaves`.
    pub(crate) fn until(
        mut self,
        deadline: Instant,
        connection: Option<Arc<Control>>,
        leaves: bool,
    ) -> Waiting {
        self.deadline = Some(Box::pin(sleep_until(deadline)));
        Waiting { poll: Some(self), connection, leaves }
    }

    /// The whole answer, once.
    fn poll_answer(&mut self, cx: &mut Context<'_>, wait: bool) -> task::Poll<Option<Bytes>> {
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

impl Body for Waiting {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { poll, connection, leaves } = &mut *self;
        let mut wait = true;
        if let Some(connection) = connection {
            if *leaves && connection.poll_whole(cx) {
                poll.take().into_iter().for_each(|poll| connection.wait(poll));
            } else {
                wait = connection.poll_left(cx).is_pending();
            }
        }
        let Some(poll) = poll else { return task::Poll::Pending };
        let answer = ready!(poll.poll_answer(cx, wait));
        task::Poll::Ready(answer.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Waits for the answer and writes it. Gives the socket back, unless the client is gone, or did not
/// read, or said more than it was asked for: no client has reason to send the next request before
/// it knows where to go on. A client that closes its side is answered at once: it may still read,
/// and hears from where to go on.
pub(crate) async fn run<L: Line>(line: Arc<L>, mut poll: Poll, write_deadline: Duration) -> Option<Socket> {
    let body = poll_fn(|cx| match line.client(cx) {
        Client::Waits => poll.poll_answer(cx, true),
        Client::Closed => poll.poll_answer(cx, false),
        Client::Gone => task::Poll::Ready(None),
    });
    let body = body.await?;
    drop(poll);
    let chunk = [format!("{:x}\r\n", body.len()).into(), body, Bytes::from_static(b"\r\n0\r\n\r\n")];
    let mut sink = Arc::clone(&line).sink(Framing::Close);
    let written = async {
        let mut whole = sink.send(&chunk)?;
        while !whole {
            // For each piece: a client that is only slow gets all of it, as it would from hyper.
            timeout(write_deadline, poll_fn(|cx| line.poll_writable(cx))).await??;
            whole = sink.resume()?;
        }
        std::io::Result::Ok(())
    };
    written.await.ok()?;
    drop(sink);
    Arc::into_inner(line).map(Line::into_socket)
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
