//! A socket after its takeover: what its task needs of it, with and without TLS.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_hub::Sink;
use tokio::net::TcpStream;

use super::Socket;
use super::writer::{EventWriter, Framing};

/// A socket taken out of hyper, which one response has to itself.
pub(crate) trait DetachedSocket: Send + Sync + 'static {
    /// What the hub writes events with.
    fn writer(self: Arc<Self>, framing: Framing) -> Box<dyn Sink>;

    /// What the client has done since its request.
    fn client(&self, cx: &mut Context<'_>) -> Client;

    /// Waits until it takes more.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says the end, with the body's `last` bytes before it. The socket has just taken everything
    /// else: so little more fits, or the client sees a truncated body and resumes.
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
    /// It has acknowledged nothing for as long as `write_deadline`: found by the kernel.
    TimedOut,
}

impl DetachedSocket for TcpStream {
    fn writer(self: Arc<Self>, framing: Framing) -> Box<dyn Sink> {
        Box::new(EventWriter::new(self, framing))
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
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Client::TimedOut,
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
