//! A client's socket: in the hands of an HTTP library, or detached from it.

mod deadlines;
mod detached;
mod tls;
mod writer;

use std::io;
use std::pin::Pin;
use std::task::{self, Context};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::Stream;

pub(crate) use deadlines::{DeadlineSocket, SocketState};
pub(crate) use detached::{Client, DetachedSocket};
pub(crate) use tls::DetachedTls;
pub(crate) use writer::Framing;

/// A client's socket.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<Stream>),
}

impl Socket {
    /// Whether the client has closed its side, or is gone. Not seen behind bytes that nothing has
    /// read.
    pub(crate) fn poll_client_closed(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Plain(socket) => {
                let mut byte = [0; 1];
                let peeked = socket.poll_peek(cx, &mut ReadBuf::new(&mut byte));
                matches!(peeked, task::Poll::Ready(Ok(0) | Err(_)))
            }
            Self::Tls(stream) => stream.poll_client_closed(cx),
        }
    }

    /// The socket without its TLS, when nothing more is written to it.
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
