use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

/// Payloads up to this many bytes are copied together with their headers; larger ones are written
/// from where they are.
const SMALL: usize = 2 << 10;

/// Frames on their way to the socket. Holds nothing while empty.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Bytes>,
    /// Behind the queue: small frames, joined.
    tail: BytesMut,
    length: usize,
}

impl Outgoing {
    /// A whole text message in one frame. A server's frames are not masked.
    pub(super) fn text(&mut self, payload: Bytes) {
        self.header(0x81, payload.len());
        self.length += payload.len();
        if payload.len() <= SMALL {
            self.tail.extend_from_slice(&payload);
        } else {
            self.seal();
            self.queue.push_back(payload);
        }
    }

    /// A ping without a payload.
    pub(super) fn ping(&mut self) {
        self.header(0x89, 0);
    }

    /// Frames that are made already.
    pub(super) fn frames(&mut self, frames: &[u8]) {
        self.length += frames.len();
        self.tail.extend_from_slice(frames);
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// What to write next, in parts.
    pub(super) fn parts(&mut self) -> SmallVec<[IoSlice<'_>; 16]> {
        self.seal();
        self.queue.iter().take(16).map(|part| IoSlice::new(part)).collect()
    }

    /// So much was written.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while let Some(front) = self.queue.front_mut() {
            let taken = written.min(front.len());
            front.advance(taken);
            written -= taken;
            if !front.is_empty() {
                return;
            }
            self.queue.pop_front();
        }
        self.queue = VecDeque::new();
    }

    fn header(&mut self, first: u8, length: usize) {
        let before = self.tail.len();
        self.tail.put_u8(first);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < 126 => self.tail.put_u8(short),
            (_, Ok(medium)) => {
                self.tail.put_u8(126);
                self.tail.put_u16(medium);
            }
            _ => {
                self.tail.put_u8(127);
                self.tail.put_u64(length as u64);
            }
        }
        self.length += self.tail.len() - before;
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{self, Cursor, Read, Write};

    use proptest::prelude::*;
    use tungstenite::protocol::{Role, WebSocket};
    use tungstenite::{Message, Utf8Bytes};

    use super::*;

    /// Pongs go nowhere.
    struct Wire(Cursor<Vec<u8>>);

    impl Read for Wire {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        /// Whatever is queued, and however the socket takes it: another implementation reads the
        /// same.
        #[test]
        fn is_read_as_it_was_written(
            lengths in prop::collection::vec(prop_oneof![0_usize..200, 2_000_usize..2_100, 65_500_usize..65_600], 1..20),
            steps in prop::collection::vec(1_usize..100_000, 1..20),
        ) {
            let mut outgoing = Outgoing::default();
            for (n, length) in lengths.iter().enumerate() {
                outgoing.text("x".repeat(*length).into());
                if n % 3 == 0 {
                    outgoing.ping();
                }
            }
            let (mut wire, mut steps) = (Vec::new(), steps.into_iter().cycle());
            while outgoing.len() > 0 {
                let step = steps.next().unwrap();
                let bytes: Vec<u8> = outgoing.parts().iter().flat_map(|part| part.to_vec()).take(step).collect();
                outgoing.advance(bytes.len());
                wire.extend(bytes);
            }
            let mut reader = WebSocket::from_raw_socket(Wire(Cursor::new(wire)), Role::Client, None);
            for (n, length) in lengths.iter().enumerate() {
                prop_assert_eq!(reader.read().unwrap(), Message::Text(Utf8Bytes::from("x".repeat(*length))));
                if n % 3 == 0 {
                    prop_assert_eq!(reader.read().unwrap(), Message::Ping(Bytes::new()));
                }
            }
            prop_assert!(outgoing.queue.capacity() == 0 && outgoing.tail.capacity() == 0);
        }
    }
}
