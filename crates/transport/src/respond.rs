//! Responses that outlive their route: an event stream, a poll that waits, a WebSocket. Each takes
//! its connection over where it can: see `takeover.rs`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Context, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response, Version, header};
use http_body::{Body, Frame};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tidegate_hub::SubscriberHandle;
use tokio::time::Instant;

use crate::http2;
use crate::permit::StreamPermit;
use crate::poll::Poll;
use crate::request::ConnectionInfo;
use crate::socket::Framing;
use crate::takeover::{OpenStream, Owner, Takeover};
use crate::websocket::{self, Handshake, Session, Way};

/// The body of a stream's response: gives what the outbox has to the HTTP library or, on HTTP/1 and
/// HTTP/3, the whole stream to the connection's driver.
///
/// Ends when the stream ends; fails, so that the connection is cut, when the client did not read.
pub struct StreamBody {
    /// None: the driver has it.
    open: Option<OpenStream>,
    takeover: Option<Arc<Takeover>>,
    /// It has given its beginning.
    begun: bool,
}

/// The body of the response to a poll that waits.
pub struct PollBody {
    /// None: the driver has it.
    poll: Option<Poll>,
    takeover: Option<Arc<Takeover>>,
    /// Whether it takes the connection over.
    detaches: bool,
}

/// Answers the request with a stream.
pub fn stream(request: &Parts, subscription: SubscriberHandle, permit: StreamPermit) -> StreamBody {
    if request.version == Version::HTTP_2 {
        http2::cut_with(&subscription);
    }
    let framing = if request.version == Version::HTTP_11 { Framing::Chunked } else { Framing::Close };
    let open = Some(OpenStream { subscription, permit, framing });
    StreamBody { open, takeover: takeover(request), begun: false }
}

/// Answers the request when the poll has something, or at the deadline.
pub fn poll(request: &Parts, poll: Poll, deadline: Instant) -> PollBody {
    PollBody { poll: Some(poll.until(deadline)), takeover: takeover(request), detaches: false }
}

impl PollBody {
    /// Waits outside of hyper where it can: the connection comes back for the next request. Not for
    /// one that is about to close.
    #[must_use]
    pub fn detached(self, request: &Parts) -> Self {
        let detaches = request.version == Version::HTTP_11 && !closes(&request.headers);
        Self { detaches, ..self }
    }
}

/// Answers a handshake: the session begins when the head has been sent. None if the connection
/// can't be one.
pub fn websocket(request: &mut Parts, handshake: Handshake, session: Box<Session>) -> Option<Response<()>> {
    match handshake.way() {
        Way::Upgrade(_) => takeover(request)?.leave(Owner::WebSocket(session)),
        Way::Connect => {
            let upgrade = request.extensions.remove::<OnUpgrade>()?;
            let ends = http2::end_with();
            // Short-lived: ends with the connection at the latest, which is waited for.
            tokio::spawn(async move {
                if let Ok(upgraded) = upgrade.await {
                    websocket::run(TokioIo::new(upgraded), Bytes::new(), session, ends).await;
                }
            });
        }
    }
    Some(handshake.accept())
}

fn takeover(request: &Parts) -> Option<Arc<Takeover>> {
    request.extensions.get::<ConnectionInfo>().and_then(|info| info.takeover.clone())
}

/// Whether the client wants the connection closed behind the answer.
fn closes(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|option| option.trim().eq_ignore_ascii_case("close"))
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        // The beginning still goes this way, so that it leaves in one write with the head.
        if std::mem::replace(&mut self.begun, true)
            && let Some(takeover) = self.takeover.take_if(|takeover| takeover.may_begin(cx))
            && let Some(open) = self.open.take()
        {
            takeover.leave(Owner::Stream(open));
        }
        // The driver polls the connection now, and takes it apart next.
        let Some(open) = &mut self.open else { return task::Poll::Pending };
        match ready!(open.subscription.poll_next(cx)) {
            Some(chunk) => task::Poll::Ready(Some(Ok(Frame::data(chunk.bytes)))),
            None if open.subscription.is_cut() => {
                task::Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
            }
            None => task::Poll::Ready(None),
        }
    }
}

impl Body for PollBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { poll, takeover, detaches } = &mut *self;
        let mut wait = true;
        if let Some(takeover) = takeover {
            if *detaches && takeover.may_begin(cx) {
                poll.take().into_iter().for_each(|poll| takeover.leave(Owner::Poll(poll)));
            } else {
                wait = takeover.poll_client_closed(cx).is_pending();
            }
        }
        let Some(poll) = poll else { return task::Poll::Pending };
        let answer = ready!(poll.poll_answer(cx, wait));
        task::Poll::Ready(answer.map(|bytes| Ok(Frame::data(bytes))))
    }
}
