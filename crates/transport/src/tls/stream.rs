use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::session::Session;

/// Plaintext that is encrypted at once: one record's worth.
const RECORD: usize = 16 << 10;

/// A socket and the TLS on it, with the handshake done.
pub(crate) struct Stream {
    socket: TcpStream,
    session: Session,
    /// The end of this side has been said.
    closed: bool,
}

impl Stream {
    pub(crate) fn new(socket: TcpStream, session: Session) -> Self {
        Self { socket, session, closed: false }
    }

    /// The protocol that both sides chose.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn()
    }

    /// See [`crate::socket::Socket`].
    pub(crate) fn poll_client_closed(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { socket, session, .. } = self;
        while !session.ended() && session.received().is_empty() {
            match socket.poll_read_ready(cx) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => return true,
                Poll::Ready(Ok(())) => {}
            }
            match session.read(socket) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return true,
                _ => {}
            }
        }
        session.ended()
    }

    pub(crate) fn into_tcp(self) -> TcpStream {
        self.socket
    }

    /// The socket and the TLS on it, apart.
    pub(crate) fn into_parts(self) -> (TcpStream, Session) {
        (self.socket, self.session)
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.session.flush(&self.socket)? {
            ready!(self.socket.poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, session, .. } = &mut *self;
        loop {
            let received = session.received();
            if !received.is_empty() {
                let length = received.len().min(buffer.remaining());
                buffer.put_slice(&received.split_to(length));
                session.release();
                return Poll::Ready(Ok(()));
            }
            if session.ended() {
                return Poll::Ready(Ok(()));
            }
            ready!(socket.poll_read_ready(cx))?;
            match session.read(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    let _ = session.flush(socket);
                    return Poll::Ready(Err(error));
                }
                Ok(()) => {}
            }
        }
    }
}

impl AsyncWrite for Stream {
    /// Takes bytes when everything before them is in the socket: so there is never more than a
    /// record between here and there.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flushed(cx))?;
        let taken = bytes.len().min(RECORD);
        let Self { socket, session, .. } = &mut *self;
        session.send(&bytes[..taken])?;
        session.flush(socket)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flushed(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closed, true) {
            self.session.close()?;
        }
        ready!(self.poll_flushed(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
