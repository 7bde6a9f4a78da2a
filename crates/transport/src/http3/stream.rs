//! An event stream over QUIC. The hub writes to it itself, as to an HTTP/1 socket: see
//! `takeover.rs`.

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
use tokio::time::timeout;

use super::quic::Handle;
use crate::takeover::OpenStream;

/// Up to this many bytes are copied behind their frame's header: cheaper than to share them.
const JOIN: usize = 512;

/// The most that a frame's header takes: a type, and a length of eight bytes.
pub(super) const FRAME_HEADER: usize = 9;

/// Runs the stream until it ends or its client leaves.
///
/// What an idle stream costs here is for a good part this future: it is made so that nothing is in
/// it twice, hence no `async fn`.
pub(super) fn run(
    handle: Arc<Handle>,
    open: OpenStream,
    write_deadline: Duration,
) -> impl Future<Output = ()> + Send {
    let OpenStream { subscription, permit, .. } = open;
    async move {
        let writer = poll_fn(|cx| Poll::Ready(EventWriter::new(&handle, cx))).await;
        let mut subscription = subscription.attach(Box::new(writer));
        let mut stopped = pin!(handle.stopped());
        let in_order = poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            match subscription.flush(cx) {
                // When the client takes more, quinn wakes this task: see EventWriter.
                Flushed::All | Flushed::Blocked => Poll::Pending,
                Flushed::Ended => Poll::Ready(true),
                Flushed::Cut => Poll::Ready(false),
            }
        })
        .await;
        drop((subscription, permit));
        if in_order {
            handle.finish();
            // The connection may be closed only when the client has it all.
            let _ = Box::pin(timeout(write_deadline, stopped)).await;
        } else {
            handle.reset(Code::H3_REQUEST_CANCELLED);
        }
    }
}

/// The hub's way into the stream.
struct EventWriter {
    handle: Arc<Handle>,
    /// Of the stream's task: woken when the client takes more.
    waker: Waker,
    /// What the stream did not take of the last write.
    rest: Vec<Bytes>,
}

impl EventWriter {
    fn new(handle: &Arc<Handle>, cx: &Context<'_>) -> Self {
        Self { handle: Arc::clone(handle), waker: cx.waker().clone(), rest: Vec::new() }
    }

    /// Writes what the stream takes. Says how many chunks that were; of the next one a part may be
    /// gone, too.
    fn write(&self, chunks: &mut [Bytes]) -> io::Result<usize> {
        let mut cx = Context::from_waker(&self.waker);
        let mut stream = self.handle.send();
        let mut done = 0;
        while done < chunks.len() {
            let written = pin!(stream.write_chunks(&mut chunks[done..])).poll(&mut cx);
            match written {
                Poll::Ready(Ok(written)) => done += written.chunks,
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending => break,
            }
        }
        Ok(done)
    }
}

impl Sink for EventWriter {
    fn send(&mut self, parts: &[Bytes]) -> io::Result<bool> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        let joined = length <= JOIN;
        let mut head = BytesMut::with_capacity(FRAME_HEADER + if joined { length } else { 0 });
        put_header(&mut head, length);
        let mut chunks: SmallVec<[Bytes; 8]> = SmallVec::new();
        if joined {
            parts.iter().for_each(|part| head.extend_from_slice(part));
            chunks.push(head.freeze());
        } else {
            chunks.push(head.freeze());
            chunks.extend(parts.iter().cloned());
        }
        let done = self.write(&mut chunks)?;
        self.rest = chunks.drain(done..).collect();
        Ok(self.rest.is_empty())
    }

    fn resume(&mut self) -> io::Result<bool> {
        let mut rest = std::mem::take(&mut self.rest);
        let done = self.write(&mut rest)?;
        rest.drain(..done);
        if !rest.is_empty() {
            self.rest = rest;
        }
        Ok(self.rest.is_empty())
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

    /// With its emitter and what QUIC keeps, this is what an idle stream costs. What makes it
    /// larger should be worth that.
    #[test]
    fn an_idle_streams_task_is_small() {
        fn size<F>(_: impl Fn(Arc<Handle>, OpenStream, Duration) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(run);
        assert!(bytes <= 320, "{bytes} bytes");
    }

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
