//! What clients send and no route reads.
//!
//! A request may be answered before its body is there. A client that sends all of it before it
//! reads would then find a closed connection instead of the answer, and a proxy would count a
//! failed gateway. So the rest of a body is read and dropped, within bounds, while the answer is on
//! its way.
//!
//! It also tells when a body has ended. A connection with a body still to come must not leave
//! hyper: whatever reads it next would take that body for a request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a client may go on sending what no route reads: several round trips from far away.
/// nginx's `lingering_timeout` is as long.
const LINGER: Duration = Duration::from_secs(5);

/// What is read of a connection at once only to be dropped.
const CHUNK: usize = 16 << 10;

/// How much is read and dropped, and where it is counted.
#[derive(Clone)]
pub(crate) struct Bounds {
    /// Of one body, or of one connection that ends.
    pub(crate) bytes: usize,
    /// Bodies, by what became of their rest.
    pub(crate) counter: IntCounterVec,
}

/// A request's body on its way to its route. What the route leaves is kept in [`Arrival`].
pub(crate) struct RequestBody<B: Body> {
    body: Option<B>,
    /// The route has asked for some of it, so a client that waits for "100 Continue" sends it.
    asked: bool,
    arrival: Arc<Arrival<B>>,
}

/// How far a request's body has come. The connection's driver looks at it when the route has
/// answered.
pub(crate) struct Arrival<B> {
    state: Mutex<State<B>>,
    /// Of a response that leaves hyper when the body has ended.
    waker: AtomicWaker,
    /// The client sends the body only when it is told to ("Expect: 100-continue").
    expects: bool,
}

enum State<B> {
    /// The route has it.
    Reading,
    /// The route has dropped it before its end.
    Left { body: B, asked: bool },
    /// The rest is being read.
    Draining,
    /// All of it was read: what follows on the connection is another request.
    Whole,
    /// It is no use to wait for its end.
    Lost,
}

impl<B: Body> RequestBody<B> {
    pub(crate) fn new(body: B, headers: &HeaderMap) -> (Self, Arc<Arrival<B>>) {
        let state = if body.is_end_stream() { State::Whole } else { State::Reading };
        let expects = headers.contains_key(header::EXPECT);
        let arrival = Arc::new(Arrival { state: Mutex::new(state), waker: AtomicWaker::new(), expects });
        (Self { body: Some(body), asked: false, arrival: Arc::clone(&arrival) }, arrival)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.asked = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        let ended = match &frame {
            Some(Ok(_)) => return Poll::Ready(frame),
            Some(Err(_)) => State::Lost,
            None => State::Whole,
        };
        self.body = None;
        self.arrival.set(ended);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body> Drop for RequestBody<B> {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        let whole = body.is_end_stream();
        self.arrival.set(if whole { State::Whole } else { State::Left { body, asked: self.asked } });
    }
}

impl<B> Arrival<B> {
    fn set(&self, state: State<B>) {
        *self.state.lock() = state;
        self.waker.wake();
    }

    /// Whether the body has ended, so that the connection may leave hyper. If not, the task is
    /// woken when it has.
    pub(crate) fn poll_whole(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.is_whole()
    }

    pub(crate) fn is_whole(&self) -> bool {
        matches!(*self.state.lock(), State::Whole)
    }

    /// Takes what the route has left: with it, the rest of the body is not wanted any more.
    pub(crate) fn take_rest(&self) -> Option<(B, bool)> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Lost) {
            State::Left { body, asked } => Some((body, asked)),
            other => {
                *state = other;
                None
            }
        }
    }
}

impl<B> Arrival<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
{
    /// The route has answered. What it has left of the body is read and dropped from now on, by a
    /// task of its own: it ends with the connection at the latest. `http1`: the answer says so if
    /// the connection ends with it.
    pub(crate) fn answered(self: &Arc<Self>, headers: &mut HeaderMap, bounds: &Bounds, http1: bool) {
        let Some((body, asked)) = self.take_rest() else { return };
        let too_long = body.size_hint().lower() > bounds.bytes as u64;
        // A client that was not told to send its body need not do so: what it sends next may be
        // anything.
        let close = http1 && (too_long || (self.expects && !asked));
        if close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.set(State::Draining);
        let (this, bounds) = (Arc::clone(self), bounds.clone());
        // Short-lived: bounded in time and bytes, and only its own connection waits for it.
        tokio::spawn(async move {
            let read = timeout(LINGER, drain(body, bounds.bytes)).await;
            let (result, state) = match read {
                // The client was told that the connection ends.
                Ok(Drained::Ended) if close => ("ended", State::Lost),
                Ok(Drained::Ended) => ("ended", State::Whole),
                Ok(Drained::Gone) => ("gone", State::Lost),
                Ok(Drained::TooLong) => ("bytes", State::Lost),
                Err(_) => ("time", State::Lost),
            };
            bounds.counter.with_label_values(&[result]).inc();
            this.set(state);
        });
    }
}

enum Drained {
    Ended,
    Gone,
    TooLong,
}

async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B, mut left: usize) -> Drained {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Drained::Gone };
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return Drained::TooLong,
        }
    }
    Drained::Ended
}

/// Lets the client of a connection that has been shut down read the answer: a socket that is closed
/// with unread bytes is reset, and the reset may overtake the answer. `mid_request`: the
/// client has not sent all of it.
pub(crate) async fn linger(socket: TcpStream, mid_request: bool, limit: usize) {
    let mut buffer = vec![0; CHUNK];
    let mut left = match socket.try_read(&mut buffer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !mid_request => return,
        Ok(0) => return,
        _ => limit,
    };
    let reading = async {
        while socket.readable().await.is_ok() {
            left = match socket.try_read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => match left.checked_sub(length) {
                    Some(left) => left,
                    None => return,
                },
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => left,
                Err(_) => return,
            };
        }
    };
    let _ = timeout(LINGER, reading).await;
}
