//! Frames, without I/O: bytes of the socket go in, messages come out, and the other way round.

use std::io::{self, Read, Write};

use bytes::{Buf, BytesMut};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message, Utf8Bytes};

use super::close::Close;
use super::outgoing::Outgoing;

/// What the library keeps for a connection as long as it lives: room for a header and a short message. It reads in pieces of this size.
const READ: usize = 512;

pub(super) struct Codec {
    /// Reads, and answers pings and goodbyes. Text goes past it: its buffer would keep the size of the largest message.
    socket: WebSocket<Pipe>,
    pub(super) outgoing: Outgoing,
    failed: bool,
}

/// What a client sent.
#[derive(Debug)]
pub(super) enum Received {
    Text(Utf8Bytes),
    /// A ping, which is being answered, or a pong.
    Life,
    /// Its goodbye, or its answer to ours: nothing more comes.
    Close,
}

#[derive(Default)]
struct Pipe {
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Codec {
    /// Takes messages of up to `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            // A control frame or two: the pipe takes everything.
            .max_write_buffer_size(READ)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let socket = WebSocket::from_raw_socket(Pipe::default(), Role::Server, Some(config));
        Self { socket, outgoing: Outgoing::default(), failed: false }
    }

    /// Takes what came from the socket, cut anywhere.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.socket.get_mut().incoming.extend_from_slice(bytes);
    }

    /// The next message, if it has arrived whole. After an error nothing that comes means anything.
    pub(super) fn next(&mut self) -> Result<Option<Received>, Close> {
        let received = self.read();
        self.failed |= received.is_err();
        // The answer to a ping or a goodbye. Fails when the goodbye has been answered: that is the end.
        let _ = self.socket.flush();
        self.take_answers();
        received
    }

    /// A message was none.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    fn read(&mut self) -> Result<Option<Received>, Close> {
        Ok(match self.socket.read() {
            Ok(Message::Text(text)) => Some(Received::Text(text)),
            Ok(Message::Binary(_)) => return Err(Close::BINARY),
            Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                Some(Received::Close)
            }
            Ok(_) => Some(Received::Life),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(Error::Capacity(_)) => return Err(Close::TOO_LARGE),
            Err(Error::Utf8(_)) => return Err(Close::ENCODING),
            Err(_) => return Err(Close::PROTOCOL),
        })
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, close: Close) {
        let _ = self.socket.close(Some(close.into()));
        self.take_answers();
    }

    fn take_answers(&mut self) {
        let answers = std::mem::take(&mut self.socket.get_mut().outgoing);
        if !answers.is_empty() {
            self.outgoing.frames(&answers);
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.incoming.len().min(buffer.len());
        self.incoming.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
