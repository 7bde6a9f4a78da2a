//! Frames, without I/O: bytes of the socket go in, messages come out, and the other way round.

use std::io::{self, Read, Write};

use bytes::{Buf, BytesMut};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message, Utf8Bytes};

use super::close::Close;
use super::frames::Frames;
use super::outgoing::Outgoing;

/// What the library keeps for a connection as long as it lives: room for a header and a short
/// message. It reads in pieces of this size.
const READ: usize = 512;

pub(super) struct Codec {
    /// Reads, and answers pings and goodbyes. Text goes past it: its buffer would keep the size of
    /// the largest message.
    socket: WebSocket<Pipe>,
    pub(super) outgoing: Outgoing,
    frames: Frames,
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
    /// Takes messages of up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            // A control frame or two: the pipe takes everything.
            .max_write_buffer_size(READ)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let socket = WebSocket::from_raw_socket(Pipe::default(), Role::Server, Some(config));
        Self { socket, outgoing: Outgoing::default(), frames: Frames::default(), failed: false }
    }

    /// Takes what came from the socket, cut anywhere.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.frames.receive(bytes);
        self.socket.get_mut().incoming.extend_from_slice(bytes);
    }

    /// How many frames that begin no message have come since this was last asked.
    pub(super) fn more_frames(&mut self) -> u32 {
        self.frames.take()
    }

    /// The next message, if it has arrived whole. After an error nothing that comes means anything.
    pub(super) fn next(&mut self) -> Result<Option<Received>, Close> {
        let received = self.read();
        self.failed |= received.is_err();
        // The answer to a ping or a goodbye. Fails when the goodbye has been answered: that is the
        // end.
        let _ = self.socket.flush();
        self.take_answers();
        received
    }

    /// A message was none, or nothing more is to be read.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Reads nothing more: what comes from now on is dropped unread.
    pub(super) fn fail(&mut self) {
        self.failed = true;
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

/// Everything that is heard of `input` when it comes in pieces of `step` bytes: the texts, how it
/// ends, and the frames with which it is answered.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn hear(input: &[u8], step: usize, limit: usize) -> (Vec<String>, String, Vec<u8>) {
    let mut codec = Codec::new(limit);
    let (mut texts, mut end) = (Vec::new(), None);
    for piece in input.chunks(step.max(1)) {
        codec.receive(piece);
        while end.is_none() {
            match codec.next() {
                Ok(None) => break,
                Ok(Some(Received::Text(text))) => texts.push(text.to_string()),
                Ok(Some(Received::Life)) => {}
                Ok(Some(Received::Close)) => end = Some("closed".to_owned()),
                Err(close) => {
                    codec.close(close);
                    end = Some(format!("{close:?}"));
                }
            }
        }
    }
    let mut answers = Vec::new();
    while codec.outgoing.len() > 0 {
        let bytes: Vec<u8> = codec.outgoing.parts().iter().flat_map(|part| part.to_vec()).collect();
        codec.outgoing.advance(bytes.len());
        answers.extend(bytes);
    }
    (texts, end.unwrap_or_default(), answers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// A frame with a mask, of a client that may mean anything.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![8 => Just(0x81_u8), 2 => Just(0x01), 2 => Just(0x80), 3 => Just(0x89), 1 => any::<u8>()];
        (first, any::<[u8; 4]>(), "[a-z\u{e9}]{0,140}").prop_map(|(first, mask, text)| {
            let mut frame = vec![first];
            match u8::try_from(text.len()) {
                Ok(short) if short < 126 => frame.push(0x80 | short),
                _ => {
                    frame.push(0x80 | 126);
                    frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
                }
            }
            frame.extend(mask);
            frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            frame
        })
    }

    proptest! {
        #[test]
        fn however_the_bytes_come_the_same_is_heard(
            frames in prop::collection::vec(frame(), 1..12),
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            step in 1_usize..600,
        ) {
            let mut bytes = frames.concat();
            for (at, byte) in noise {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assert_eq!(hear(&bytes, bytes.len(), 200), hear(&bytes, step, 200));
        }

        #[test]
        fn whole_texts_are_heard_as_they_were_said(texts in prop::collection::vec("\\PC{0,50}", 0..8), step in 1_usize..80) {
            let bytes: Vec<u8> = texts
                .iter()
                .flat_map(|text| {
                    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
                    [&[0x81, 0x80 | 126][..], &length, &[0; 4], text.as_bytes()].concat()
                })
                .collect();
            prop_assert_eq!(hear(&bytes, step, 4_096), (texts, String::new(), Vec::new()));
        }
    }
}
