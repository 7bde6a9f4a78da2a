//! The writer of an SSE stream: takes what its outbox has and gives it to the connection. Knows no route and no broker.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body::{Body, Frame};
use prometheus::IntGauge;
use tidegate_hub::{Hub, Subscription};

/// The body of a stream's response. Ends when the stream ends; fails, so that the connection is cut, when the client did not read.
pub(crate) struct Stream {
    subscription: Subscription,
    hub: Hub,
    /// Counted while it lives.
    open: IntGauge,
}

impl Stream {
    pub(crate) fn new(subscription: Subscription, hub: Hub, open: IntGauge) -> Self {
        open.inc();
        Self { subscription, hub, open }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match ready!(self.subscription.poll_next(cx)) {
            Some(chunk) => {
                let metrics = self.hub.metrics();
                metrics.delivered.inc_by(u64::from(chunk.events));
                if chunk.at > 0 {
                    metrics.delivery_seconds.observe(seconds_since(chunk.at));
                }
                Poll::Ready(Some(Ok(Frame::data(chunk.bytes))))
            }
            None if self.subscription.cut() => {
                Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into())))
            }
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Another node's clock may be ahead of ours: never negative.
fn seconds_since(millis: u64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in a double")]
    let then = millis as f64 / 1e3;
    (now - then).max(0.0)
}
