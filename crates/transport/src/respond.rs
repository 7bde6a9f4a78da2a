//! The body of a stream's response. Knows no route and no broker.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use prometheus::IntGauge;
use tidegate_hub::{Hub, Subscription};

use crate::admission::Guard;
use crate::io::Control;
use crate::wire::Framing;

/// A stream that has been opened, on its way to whoever writes it.
pub(crate) struct Opened {
    pub(crate) subscription: Subscription,
    pub(crate) hub: Hub,
    pub(crate) counted: Counted,
    pub(crate) framing: Framing,
}

/// A stream in the gauge of its transport, and in its place, while it lives.
pub(crate) struct Counted {
    gauge: IntGauge,
    _place: Guard,
}

/// Gives what the outbox has to the HTTP library, or, on HTTP/1, the whole stream to the connection's driver: see [`crate::wire`].
///
/// Ends when the stream ends; fails, so that the connection is cut, when the client did not read.
pub(crate) struct Stream {
    opened: Option<Opened>,
    /// Where to leave the stream when it is asked for more, by which time the head is on its way,
    /// and the request has been read to its end.
    driver: Option<Arc<Control>>,
    /// It has given its beginning.
    begun: bool,
}

impl Stream {
    pub(crate) fn new(opened: Opened, driver: Option<Arc<Control>>) -> Self {
        crate::h2::leash(&opened.subscription);
        Self { opened: Some(opened), driver, begun: false }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // The beginning still goes this way, so that it leaves in one write with the head.
        if std::mem::replace(&mut self.begun, true)
            && let Some(driver) = self.driver.take_if(|driver| driver.poll_whole(cx))
            && let Some(opened) = self.opened.take()
        {
            driver.hand_over(opened);
        }
        // Handed over: the driver is polling the connection just now, and takes it apart next.
        let Some(opened) = &mut self.opened else { return Poll::Pending };
        match ready!(opened.subscription.poll_next(cx)) {
            Some(chunk) => {
                opened.hub.metrics().sent(chunk.events, chunk.at);
                Poll::Ready(Some(Ok(Frame::data(chunk.bytes))))
            }
            None if opened.subscription.cut() => {
                Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionAborted.into())))
            }
            None => Poll::Ready(None),
        }
    }
}

impl Counted {
    pub(crate) fn new(gauge: IntGauge, place: Guard) -> Self {
        gauge.inc();
        Self { gauge, _place: place }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
