//! HTTP/2: settings for many quiet streams on a connection, and a way to end one whose client takes
//! nothing.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tidegate_hub::{SubscriberHandle, Watch};
use tokio::task::futures::TaskLocalFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Options;
use crate::request::Body;
use crate::socket::DeadlineSocket;

/// A dead peer is found by a PING this often.
const PING: Duration = Duration::from_secs(20);

/// How far the bodies of one request, and of all of a connection, may be ahead of what reads
/// them. A publisher 50 ms away still sends 5 MB/s, and a client that sends on many streams at once
/// fills half a megabyte, not one for each.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 512 << 10;

/// Bytes of one stream that the library takes beyond what the socket does: one write's worth. What
/// waits for a slow client belongs into its outbox, where it is counted.
const SEND_BUFFER: usize = 64 << 10;

/// Serves one connection until it ends. After the shutdown, or its first request if it is
/// `overloaded`, it takes no new streams, says so (GOAWAY), and ends with the last it has.
pub(crate) async fn serve<S>(
    io: DeadlineSocket,
    service: S,
    options: &Options,
    shutdown: &CancellationToken,
    overloaded: bool,
) -> io::Result<()>
where
    S: HttpService<Incoming, ResBody = Body> + Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    let mut builder = http2::Builder::new(Tasks);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(options.h2_streams)
        // RFC 8441: WebSockets.
        .enable_connect_protocol()
        // See request/unreadable.rs.
        .max_header_list_size(u32::try_from(2 * options.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let socket = io.state();
    let mut served = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut shutdown = pin!(shutdown.cancelled());
    let mut parting = false;
    let result = poll_fn(|cx| {
        let result = served.as_mut().poll(cx);
        // On a full node the first answer says so; the next one should be another node's.
        if parting || result.is_ready() {
            return result;
        }
        parting = overloaded && socket.has_request() || shutdown.as_mut().poll(cx).is_ready();
        if !parting {
            return result;
        }
        served.as_mut().graceful_shutdown();
        served.as_mut().poll(cx)
    });
    result.await.map_err(io::Error::other)
}

/// Has the task that serves the current request end when the hub gives the stream up. The library
/// asks the body for bytes only while the client takes some: without this a stream whose client
/// takes nothing would stay, with all that waits for it, until the connection ends.
pub(crate) fn cut_with(subscription: &SubscriberHandle) {
    let _ = ENDING.try_with(|ending| ending.0.set(End::Cut(subscription.watch())));
}

/// Has what the library keeps of the current request's WebSocket end with the guard. The library's
/// task waits until the client takes what was written, also when the session has ended, and does
/// not notice a client that takes nothing.
pub(crate) fn end_with() -> DropGuard {
    let over = CancellationToken::new();
    let _ = ENDING.try_with(|ending| ending.0.set(End::Over(over.clone())));
    over.drop_guard()
}

tokio::task_local! {
    static ENDING: Ending;
}

/// Set when the task's request has become a stream, or a WebSocket.
#[derive(Clone, Default)]
struct Ending(Arc<OnceLock<End>>);

/// When to end what the library does for it.
enum End {
    Cut(Watch),
    Over(CancellationToken),
}

/// Spawns the library's tasks, one for each request, each with a way to end it, and one for each
/// WebSocket.
#[derive(Clone)]
struct Tasks;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        // A request's task spawns only what writes for its WebSocket.
        let over = ENDING.try_with(|ending| match ending.0.get() {
            Some(End::Over(over)) => Some(over.clone()),
            _ => None,
        });
        if let Ok(Some(over)) = over {
            // Short-lived: ends with its WebSocket.
            tokio::spawn(over.run_until_cancelled_owned(task));
            return;
        }
        let ending = Ending::default();
        // Short-lived: ends with its request or its connection.
        tokio::spawn(Cancellable { task: ENDING.scope(ending.clone(), task), ending });
    }
}

pin_project! {
    /// A task that ends, and so resets its stream, when the stream is cut.
    struct Cancellable<F> {
        #[pin]
        task: TaskLocalFuture<Ending, F>,
        ending: Ending,
    }
}

impl<F: Future<Output = ()>> Future for Cancellable<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.task.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match this.ending.0.get() {
            Some(End::Cut(watch)) => watch.poll_cut(cx),
            _ => Poll::Pending,
        }
    }
}
