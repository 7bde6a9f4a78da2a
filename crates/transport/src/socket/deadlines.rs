//! A socket while an HTTP library has it: with deadlines, and with what others may know of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Context};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Socket;

/// A client's socket with deadlines: for the first request's head, and for taking what is written.
pub(crate) struct DeadlineSocket {
    socket: Socket,
    /// What was read to tell the protocol.
    prefix: Bytes,
    head: Option<Pin<Box<Sleep>>>,
    write_deadline: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
    state: Arc<SocketState>,
}

/// What is known of a socket outside of the task that reads and writes it.
#[derive(Default)]
pub(crate) struct SocketState {
    /// A whole request head has arrived.
    head_arrived: AtomicBool,
    /// The socket did not take all that hyper wanted to write.
    blocked: AtomicBool,
    client: ClientSide,
    /// A route has got the request, and its answer is not on its way yet.
    routed: AtomicBool,
    /// The status of an answer that hyper gave by itself, to what is no request to it.
    kept_back: Mutex<Option<StatusCode>>,
}

/// Whether the client has closed its side of an HTTP/1 connection while hyper reads nothing.
#[derive(Default)]
struct ClientSide {
    /// A response wants to know: asking the socket is a system call.
    asked: AtomicBool,
    closed: AtomicBool,
    waker: AtomicWaker,
}

impl SocketState {
    /// A request's head is there.
    pub(crate) fn request_began(&self) {
        self.head_arrived.store(true, Ordering::Relaxed);
        self.routed.store(true, Ordering::Relaxed);
        self.client.asked.store(false, Ordering::Relaxed);
    }

    /// Whether a request's head has arrived.
    pub(crate) fn has_request(&self) -> bool {
        self.head_arrived.load(Ordering::Relaxed)
    }

    /// Whether the socket has taken everything that was written.
    pub(crate) fn all_written(&self) -> bool {
        !self.blocked.load(Ordering::Relaxed)
    }

    /// The status of an answer that hyper gave by itself, and that was kept back. The answer written
    /// instead passes.
    pub(crate) fn kept_back(&self) -> Option<StatusCode> {
        self.routed.store(true, Ordering::Relaxed);
        self.kept_back.lock().take()
    }

    /// Resolves when the client has closed its side, which most do only when they leave.
    pub(crate) fn poll_client_closed(&self, cx: &Context<'_>) -> task::Poll<()> {
        self.client.waker.register(cx.waker());
        self.client.asked.store(true, Ordering::Relaxed);
        if self.client.closed.load(Ordering::Relaxed) { task::Poll::Ready(()) } else { task::Poll::Pending }
    }
}

/// The status of an answer that begins here. "100 Continue" is none yet.
fn begins(bytes: &[u8]) -> Option<StatusCode> {
    let status = StatusCode::from_bytes(bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?).ok()?;
    (!status.is_informational()).then_some(status)
}

/// Whether an answer looks like hyper's own to bytes that are no request: without a body, and
/// without the headers that let a page of another origin read it.
fn is_bare(status: StatusCode, answer: &[u8]) -> bool {
    let head = std::str::from_utf8(answer).ok().and_then(|text| text.strip_suffix("\r\n\r\n"));
    matches!(status.as_u16(), 400 | 414 | 431)
        && head.is_some_and(|head| head.split("\r\n").any(|line| line == "content-length: 0"))
}

impl DeadlineSocket {
    pub(crate) fn new(socket: Socket, prefix: Bytes, head: Instant, write_deadline: Duration) -> Self {
        let head = Some(Box::pin(tokio::time::sleep_until(head)));
        Self { socket, prefix, head, write_deadline, stuck: None, state: Arc::default() }
    }

    /// What others may know of it while an HTTP library has it.
    pub(crate) fn state(&self) -> Arc<SocketState> {
        Arc::clone(&self.state)
    }

    /// The socket, when hyper is done with it.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Keeps an answer back that no route gave. With the error hyper is done with the connection.
    fn keep_back(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(status) = begins(bytes) else { return Ok(()) };
        if self.state.routed.swap(false, Ordering::Relaxed) || !is_bare(status, bytes) {
            return Ok(());
        }
        *self.state.kept_back.lock() = Some(status);
        Err(io::ErrorKind::InvalidData.into())
    }

    /// hyper flushes whenever it is polled, and reads nothing while a request is being answered.
    fn watch_client(&mut self, cx: &mut Context<'_>) {
        let client = &self.state.client;
        if client.asked.load(Ordering::Relaxed)
            && !client.closed.load(Ordering::Relaxed)
            && self.socket.poll_client_closed(cx)
        {
            client.closed.store(true, Ordering::Relaxed);
            client.waker.wake();
        }
    }

    /// Starts the clock when the socket takes nothing, and stops it when it takes something.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: task::Poll<io::Result<T>>,
    ) -> task::Poll<io::Result<T>> {
        self.state.blocked.store(written.is_pending(), Ordering::Relaxed);
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

impl AsyncRead for DeadlineSocket {
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
        if self.state.has_request() {
            self.head = None;
        } else if let Some(head) = &mut self.head
            && head.as_mut().poll(cx).is_ready()
        {
            return task::Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        task::Poll::Pending
    }
}

impl AsyncWrite for DeadlineSocket {
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
