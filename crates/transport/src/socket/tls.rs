use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_hub::Sink;
use tokio::net::TcpStream;

use super::{Client, DetachedSocket, Framing, Socket};
use crate::tls::{Session, Stream};

/// A TLS connection whose stream has left hyper: the hub encrypts and writes, its task reads.
pub(crate) struct DetachedTls {
    socket: TcpStream,
    /// Held for one record at a time, never while waiting.
    session: Mutex<Session>,
}

/// Its event writer.
struct TlsWriter {
    socket: Arc<DetachedTls>,
    framing: Framing,
}

impl From<Stream> for DetachedTls {
    fn from(stream: Stream) -> Self {
        let (socket, session) = stream.into_parts();
        Self { socket, session: Mutex::new(session) }
    }
}

impl DetachedSocket for DetachedTls {
    fn writer(self: Arc<Self>, framing: Framing) -> Box<dyn Sink> {
        Box::new(TlsWriter { socket: self, framing })
    }

    /// A close_notify closes the client's side, as the socket's end does. What TLS itself has to
    /// say, new keys for one, is nothing that the client has done; an answer to that goes out with
    /// the next event or heartbeat.
    fn client(&self, cx: &mut Context<'_>) -> Client {
        let mut session = self.session.lock();
        loop {
            // Also what hyper made TLS read and did not take.
            if !session.received().is_empty() {
                return Client::Gone;
            }
            if session.ended() {
                return Client::Closed;
            }
            match self.socket.poll_read_ready(cx) {
                Poll::Pending => return Client::Waits,
                Poll::Ready(Err(_)) => return Client::Gone,
                Poll::Ready(Ok(())) => {}
            }
            match session.read(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Client::TimedOut,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    // The alert that says why, if it fits.
                    let _ = session.flush(&self.socket);
                    return Client::Gone;
                }
                _ => {}
            }
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx)
    }

    fn end(&self, last: &[u8]) -> io::Result<()> {
        let mut session = self.session.lock();
        if !last.is_empty() {
            session.send(last)?;
        }
        session.close()?;
        session.flush(&self.socket).map(drop)
    }

    fn into_socket(self) -> Socket {
        Socket::Tls(Box::new(Stream::new(self.socket, self.session.into_inner())))
    }
}

impl Sink for TlsWriter {
    fn send(&mut self, parts: &[Bytes]) -> io::Result<bool> {
        let (head, tail) = (self.framing.head(parts), self.framing.tail());
        let mut plain =
            Vec::with_capacity(head.len() + parts.iter().map(Bytes::len).sum::<usize>() + tail.len());
        plain.extend_from_slice(&head);
        parts.iter().for_each(|part| plain.extend_from_slice(part));
        plain.extend_from_slice(tail);
        let mut session = self.socket.session.lock();
        session.send(&plain)?;
        session.flush(&self.socket.socket)
    }

    fn resume(&mut self) -> io::Result<bool> {
        self.socket.session.lock().flush(&self.socket.socket)
    }
}
