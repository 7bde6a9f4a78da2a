//! What writes events to a detached socket, and how a response's body is framed there.

use std::io::{self, IoSlice, Write as _};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tidegate_hub::Sink;
use tokio::net::TcpStream;

/// How a client knows where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// HTTP/1.1: each write is a chunk, and the last one is empty.
    Chunked,
    /// HTTP/1.0: the connection's end is the body's.
    Close,
}

/// The event writer of a socket without TLS.
pub(super) struct EventWriter {
    socket: Arc<TcpStream>,
    framing: Framing,
    /// What the socket did not take of the last write.
    rest: Bytes,
}

impl EventWriter {
    pub(super) fn new(socket: Arc<TcpStream>, framing: Framing) -> Self {
        Self { socket, framing, rest: Bytes::new() }
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
    pub(crate) fn last(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"0\r\n\r\n",
            Self::Close => b"",
        }
    }
}

impl Sink for EventWriter {
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
