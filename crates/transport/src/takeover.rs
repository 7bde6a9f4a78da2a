use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Context};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::StatusCode;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::poll::Poll;
use crate::stream::Opened;
use crate::tls;
use crate::unread::Arrival;
use crate::ws::Session;

/// A client's socket.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

/// A client's socket with deadlines: for the first request's head, and for taking what is written.
pub(crate) struct Io {
    socket: Socket,
    /// What was read to tell the protocol.
    prefix: Bytes,
    head: Option<Pin<Box<Sleep>>>,
    write_deadline: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
    control: Arc<Control>,
}

/// Reaches a connection from outside its task.
#[derive(Default)]
pub(crate) struct Control {
    /// A whole request head has arrived.
    served: AtomicBool,
    /// The socket did not take all that hyper wanted to write.
    blocked: AtomicBool,
    /// A stream whose response has begun.
    opened: Mutex<Option<Opened>>,
    /// The same of a long poll.
    poll: Mutex<Option<Poll>>,
    /// A WebSocket: it begins when the answer to its handshake has been sent.
    websocket: Mutex<Option<Box<Session>>>,
    /// The body of the request that is being answered. None: the transport tells requests apart
    /// without it.
    arrival: Mutex<Option<Arc<Arrival<Incoming>>>>,
    left: Left,
    /// What hyper wanted to answer to what is no request to it.
    refused: Mutex<Option<StatusCode>>,
}

/// Whether the client has closed its side of an HTTP/1 connection while hyper reads nothing.
#[derive(Default)]
struct Left {
    /// A response wants to know: asking the socket is a system call.
    asked: AtomicBool,
    left: AtomicBool,
    waker: AtomicWaker,
}

impl Control {
    /// A request's head is there. `arrival`: of its body, where the next request follows behind it.
    pub(crate) fn served(&self, arrival: Option<Arc<Arrival<Incoming>>>) {
        self.served.store(true, Ordering::Relaxed);
        self.left.asked.store(false, Ordering::Relaxed);
        *self.arrival.lock() = arrival;
    }

    /// Whether the request has been read to its end: only then may its connection leave hyper. If
    /// not, the task is woken when it has.
    pub(crate) fn poll_whole(&self, cx: &Context<'_>) -> bool {
        self.arrival.lock().as_ref().is_none_or(|arrival| arrival.poll_whole(cx))
    }

    /// The same, without waiting for it.
    pub(crate) fn is_whole(&self) -> bool {
        self.arrival.lock().as_ref().is_none_or(|arrival| arrival.is_whole())
    }

    /// The status of an answer that hyper gave by itself, and that was kept back.
    pub(crate) fn refused(&self) -> Option<StatusCode> {
        self.refused.lock().take()
    }

    /// Resolves when the client has closed its side, which most do only when they leave.
    pub(crate) fn poll_left(&self, cx: &Context<'_>) -> task::Poll<()> {
        self.left.waker.register(cx.waker());
        self.left.asked.store(true, Ordering::Relaxed);
        if self.left.left.load(Ordering::Relaxed) { task::Poll::Ready(()) } else { task::Poll::Pending }
    }

    /// Leaves a stream for the connection's driver.
    pub(crate) fn hand_over(&self, opened: Opened) {
        *self.opened.lock() = Some(opened);
    }

    /// Leaves a long poll for it, to wait.
    pub(crate) fn wait(&self, poll: Poll) {
        *self.poll.lock() = Some(poll);
    }

    /// The poll that was left, once everything before it has been written.
    pub(crate) fn take_poll(&self) -> Option<Poll> {
        if self.blocked.load(Ordering::Relaxed) { None } else { self.poll.lock().take() }
    }

    /// The same with a WebSocket.
    pub(crate) fn upgrade(&self, session: Box<Session>) {
        *self.websocket.lock() = Some(session);
    }

    /// The WebSocket that was left, once hyper is done with the connection.
    pub(crate) fn upgraded(&self) -> Option<Box<Session>> {
        self.websocket.lock().take().filter(|_| self.is_whole())
    }

    /// The stream that was left, once everything before it has been written.
    pub(crate) fn take_over(&self) -> Option<Opened> {
        if self.blocked.load(Ordering::Relaxed) { None } else { self.opened.lock().take() }
    }
}

/// hyper answers what it can't read as a request by itself: without a body, and so that no page of
/// another origin may read it. These answers are known by that. No route gives an error without a
/// body.
fn refusal(answer: &[u8]) -> Option<StatusCode> {
    let status = StatusCode::from_bytes(answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?).ok()?;
    if !matches!(status.as_u16(), 400 | 414 | 431) {
        return None;
    }
    let head = std::str::from_utf8(answer).ok()?.strip_suffix("\r\n\r\n")?;
    head.split("\r\n").any(|line| line == "content-length: 0").then_some(status)
}

impl Io {
    pub(crate) fn new(socket: Socket, prefix: Bytes, head: Instant, write_deadline: Duration) -> Self {
        let head = Some(Box::pin(tokio::time::sleep_until(head)));
        Self { socket, prefix, head, write_deadline, stuck: None, control: Arc::default() }
    }

    pub(crate) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// The socket, when hyper is done with it.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Keeps an answer back that no route gave. With the error hyper is done with the connection.
    fn keep_back(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(status) = refusal(bytes) else { return Ok(()) };
        *self.control.refused.lock() = Some(status);
        Err(io::ErrorKind::InvalidData.into())
    }

    /// hyper flushes whenever it is polled, and reads nothing while a request is being answered.
    fn watch_client(&mut self, cx: &mut Context<'_>) {
        let left = &self.control.left;
        if left.asked.load(Ordering::Relaxed)
            && !left.left.load(Ordering::Relaxed)
            && self.socket.poll_left(cx)
        {
            left.left.store(true, Ordering::Relaxed);
            left.waker.wake();
        }
    }

    /// Starts the clock when the socket takes nothing, and stops it when it takes something.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: task::Poll<io::Result<T>>,
    ) -> task::Poll<io::Result<T>> {
        self.control.blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let deadline = self.write_deadline;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(deadline)));
        match stuck.as_mut().poll(cx) {
            task::Poll::Ready(()) => task::Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            task::Poll::Pending => task::Poll::Pending,
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> task::Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let length = self.prefix.len().min(buffer.remaining());
            let start = self.prefix.split_to(length);
            buffer.put_slice(&start);
            return task::Poll::Ready(Ok(()));
        }
        if let task::Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(cx, buffer) {
            return task::Poll::Ready(read);
        }
        if self.control.served.load(Ordering::Relaxed) {
            self.head = None;
        } else if let Some(head) = &mut self.head
            && head.as_mut().poll(cx).is_ready()
        {
            return task::Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        task::Poll::Pending
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        self.keep_back(bytes)?;
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> task::Poll<io::Result<usize>> {
        self.keep_back(parts.first().map_or(&[], |part| part))?;
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> task::Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.watch_client(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Socket {
    /// Whether the client has closed its side, or is gone. Not seen behind bytes that nothing has
    /// read.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Plain(socket) => {
                let mut byte = [0; 1];
                let peeked = socket.poll_peek(cx, &mut ReadBuf::new(&mut byte));
                matches!(peeked, task::Poll::Ready(Ok(0) | Err(_)))
            }
            Self::Tls(stream) => stream.poll_left(cx),
        }
    }

    /// The socket without its TLS, when nothing more is said on it.
    pub(crate) fn into_tcp(self) -> TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.into_tcp(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> task::Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> task::Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            // Parts are joined into records: better one that is full than many that aren't.
            Self::Tls(_) => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> task::Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> task::Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
