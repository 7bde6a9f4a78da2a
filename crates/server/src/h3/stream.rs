//! An event stream over QUIC. The hub writes to it itself, as to an HTTP/1 socket: see [`crate::wire`].

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h3::error::Code;
use quinn::VarInt;
use smallvec::SmallVec;
use tidegate_hub::{Flushed, Sink};

use super::quic::Handle;
use crate::stream::Opened;

/// Up to this many bytes are copied behind their frame's header: cheaper than to share them.
const JOIN: usize = 512;

/// The most that a frame's header takes: a type, and a length of eight bytes.
pub(super) const FRAME_HEADER: usize = 9;

/// Runs the stream until it ends or its client leaves.
pub(super) async fn run(handle: Arc<Handle>, opened: Opened, write_deadline: Duration) {
    let Opened { mut subscription, counted, .. } = opened;
    let mut stopped = pin!(handle.stopped());
    let mut attached = false;
    let in_order = poll_fn(|cx| {
        if !attached {
            attached = true;
            let wire = Wire { handle: Arc::clone(&handle), waker: cx.waker().clone(), rest: SmallVec::new() };
            subscription.attach(Box::new(wire));
        }
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        match subscription.flush(cx) {
            // When the client takes more, quinn wakes this task: see Wire.
            Flushed::All | Flushed::Blocked => Poll::Pending,
            Flushed::Ended => Poll::Ready(true),
            Flushed::Cut => Poll::Ready(false),
        }
    })
    .await;
    drop((subscription, counted));
    if in_order {
        handle.finish();
        // The connection may be closed only when the client has it all.
        let _ = tokio::time::timeout(write_deadline, stopped).await;
    } else {
        handle.reset(Code::H3_REQUEST_CANCELLED);
    }
}

/// The hub's way into the stream.
struct Wire {
    handle: Arc<Handle>,
    /// Of the stream's task: woken when the client takes more.
    waker: Waker,
    /// What the stream did not take of the last write.
    rest: SmallVec<[Bytes; 2]>,
}

impl Sink for Wire {
    fn send(&mut self, parts: &[Bytes]) -> io::Result<bool> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        let joined = if length <= JOIN { length } else { 0 };
        let mut head = BytesMut::with_capacity(FRAME_HEADER + joined);
        put_header(&mut head, length);
        if joined > 0 {
            parts.iter().for_each(|part| head.extend_from_slice(part));
        }
        self.rest.push(head.freeze());
        if joined == 0 {
            self.rest.extend(parts.iter().cloned());
        }
        self.resume()
    }

    fn resume(&mut self) -> io::Result<bool> {
        let mut cx = Context::from_waker(&self.waker);
        let mut stream = self.handle.send();
        while !self.rest.is_empty() {
            let written = pin!(stream.write_chunks(&mut self.rest)).poll(&mut cx);
            match written {
                Poll::Ready(Ok(written)) => drop(self.rest.drain(..written.chunks)),
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending => return Ok(false),
            }
        }
        self.rest = SmallVec::new();
        Ok(true)
    }
}

/// The header of a DATA frame (RFC 9114, section 7.2.1).
pub(super) fn put_header(buffer: &mut BytesMut, length: usize) {
    const DATA: u8 = 0;
    buffer.put_u8(DATA);
    // QUIC's variable-length integers (RFC 9000, section 16).
    match length as u64 {
        small @ 0..=0x3f => buffer.put_u8(small as u8),
        medium @ 0x40..=0x3fff => buffer.put_u16(medium as u16 | 0x4000),
        large @ 0x4000..=0x3fff_ffff => buffer.put_u32(large as u32 | 0x8000_0000),
        huge => buffer.put_u64(huge.min(VarInt::MAX.into_inner()) | 0xc000_0000_0000_0000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_quic_writes_them() {
        // The examples of RFC 9000, appendix A.1.
        for (length, bytes) in [
            (37, &[0x25][..]),
            (15_293, &[0x7b, 0xbd]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
        ] {
            let mut buffer = BytesMut::new();
            put_header(&mut buffer, length);
            assert_eq!((buffer[0], &buffer[1..]), (0, bytes), "{length}");
        }
    }
}
