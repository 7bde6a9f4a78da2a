//! An HTTP/1 stream that has left hyper: its socket, its framing, and a task as small as it gets.
//!
//! hyper keeps about 20 kB for a connection whose response never ends. Once the head has been sent, nothing of that is needed: the
//! socket is taken back, the hub writes to it directly, and this task only waits for the client to leave or the socket to drain.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tidegate_hub::{Flushed, Sink, Subscription};
use tokio::net::TcpStream;

use crate::io::Socket;

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// HTTP/1.1: each write is a chunk, and the last one is empty.
    Chunked,
    /// HTTP/1.0: the connection's end is the body's.
    Close,
}

/// A connection that its stream has to itself.
pub(crate) trait Line: Send + Sync + 'static {
    /// The hub's way to it.
    fn sink(self: Arc<Self>, framing: Framing) -> Box<dyn Sink>;

    /// What the client has done since its request.
    fn client(&self, cx: &mut Context<'_>) -> Client;

    /// Waits until it takes more.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says the end, with the body's `last` bytes before it. The socket has just taken everything else: so little more fits, or the client
    /// sees a truncated body and resumes.
    fn end(&self, last: &[u8]) -> io::Result<()>;

    /// Gives it back for further requests.
    fn into_socket(self) -> Socket;
}

/// What a client has done since its request. A stream goes on only while it [waits](Self::Waits):
/// hardly any client closes its side first and then reads a stream, and proxies pass a client's
/// leaving on like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Nothing: it waits.
    Waits,
    /// It has closed its side. It may still read.
    Closed,
    /// It is gone, or sent what it should not.
    Gone,
}

/// The hub's way to a socket.
struct Wire {
    socket: Arc<TcpStream>,
    framing: Framing,
    /// What the socket did not take of the last write.
    rest: Bytes,
}

/// Runs the stream until it ends or its client leaves. `early`: the client sent bytes after its request, which no client of a
/// stream has reason to do; the connection is closed then, for nobody would answer them. `held` is dropped with the connection.
///
/// What an idle stream costs is for the most part this future: it is made so that nothing is in it twice, hence no `async fn`.
pub(crate) fn run<L: Line>(
    line: Arc<L>,
    early: bool,
    framing: Framing,
    mut subscription: Subscription,
    held: impl Send,
) -> impl Future<Output = ()> + Send {
    if !early {
        subscription.attach(Arc::clone(&line).sink(framing));
    }
    async move {
        if !early && poll_fn(|cx| poll(&*line, &mut subscription, cx)).await == Ended::InOrder {
            let _ = line.end(framing.last());
        }
        drop(subscription);
        drop((line, held));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    InOrder,
    Cut,
}

fn poll(line: &impl Line, subscription: &mut Subscription, cx: &mut Context<'_>) -> Poll<Ended> {
    if line.client(cx) != Client::Waits {
        return Poll::Ready(Ended::Cut);
    }
    loop {
        match subscription.flush(cx) {
            Flushed::All => return Poll::Pending,
            Flushed::Blocked => match ready!(line.poll_writable(cx)) {
                Ok(()) => {}
                Err(_) => return Poll::Ready(Ended::Cut),
            },
            Flushed::Ended => return Poll::Ready(Ended::InOrder),
            Flushed::Cut => return Poll::Ready(Ended::Cut),
        }
    }
}

impl Line for TcpStream {
    fn sink(self: Arc<Self>, framing: Framing) -> Box<dyn Sink> {
        Box::new(Wire { socket: self, framing, rest: Bytes::new() })
    }

    fn client(&self, cx: &mut Context<'_>) -> Client {
        let mut byte = [0; 1];
        loop {
            match self.poll_read_ready(cx) {
                Poll::Pending => return Client::Waits,
                Poll::Ready(Err(_)) => return Client::Gone,
                Poll::Ready(Ok(())) => {}
            }
            match self.try_read(&mut byte) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Client::Closed,
                _ => return Client::Gone,
            }
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }

    fn end(&self, last: &[u8]) -> io::Result<()> {
        if last.is_empty() { Ok(()) } else { self.try_write(last).map(drop) }
    }

    fn into_socket(self) -> Socket {
        Socket::Plain(self)
    }
}

impl Framing {
    /// What stands before a write.
    pub(crate) fn head(self, parts: &[Bytes]) -> SmallVec<[u8; 24]> {
        let mut head = SmallVec::from([0; 24]);
        let mut room = &mut head[..];
        if self == Self::Chunked {
            let length: usize = parts.iter().map(Bytes::len).sum();
            // Room for any length: nothing is allocated, and nothing fails.
            let _ = write!(room, "{length:x}\r\n");
        }
        let left = room.len();
        head.truncate(24 - left);
        head
    }

    /// What stands behind it.
    pub(crate) fn tail(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"\r\n",
            Self::Close => b"",
        }
    }

    /// What ends the body.
    fn last(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"0\r\n\r\n",
            Self::Close => b"",
        }
    }
}

impl Sink for Wire {
    fn send(&mut self, parts: &[Bytes]) -> io::Result<bool> {
        let (head, tail) = (self.framing.head(parts), self.framing.tail());
        let mut slices: SmallVec<[IoSlice<'_>; 8]> = SmallVec::new();
        slices.push(IoSlice::new(&head));
        slices.extend(parts.iter().map(|part| IoSlice::new(part)));
        slices.push(IoSlice::new(tail));
        let whole: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = match self.socket.try_write_vectored(&slices) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if written == whole {
            return Ok(true);
        }
        let mut rest = BytesMut::with_capacity(whole - written);
        let mut skip = written;
        for slice in &slices {
            let from = skip.min(slice.len());
            rest.extend_from_slice(&slice[from..]);
            skip -= from;
        }
        self.rest = rest.freeze();
        Ok(false)
    }

    fn resume(&mut self) -> io::Result<bool> {
        while !self.rest.is_empty() {
            match self.socket.try_write(&self.rest) {
                Ok(written) => drop(self.rest.split_to(written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.rest = Bytes::new();
        Ok(true)
    }
}
