use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use parking_lot::{Mutex, MutexGuard};

use super::{error_code, lost};

/// The most that is taken from a stream at once.
const CHUNK: usize = 16 << 10;

/// A request's stream, reached past the library.
pub(crate) struct Handle {
    send: Mutex<quinn::SendStream>,
    /// Bytes that the client may still send on it.
    allowance: AtomicUsize,
}

impl Handle {
    pub(crate) fn send(&self) -> MutexGuard<'_, quinn::SendStream> {
        self.send.lock()
    }

    /// Lets more come.
    pub(crate) fn allow(&self, bytes: usize) {
        self.allowance.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Resolves when the client wants no more of the response, or is gone, or has it all.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = self.send().stopped();
        async move { drop(stopped.await) }
    }

    /// Says that the response is whole.
    pub(crate) fn finish(&self) {
        // It fails if the client has left, and then it does not matter.
        let _ = self.send().finish();
    }

    /// Breaks the response off. Without this it would look whole.
    pub(crate) fn reset(&self, code: Code) {
        let _ = self.send().reset(error_code(code));
    }
}

/// The half on which a response goes.
pub(crate) struct SendStream {
    pub(super) handle: Arc<Handle>,
    writing: Option<WriteBuf<Bytes>>,
}

impl SendStream {
    pub(super) fn new(stream: quinn::SendStream, allowance: usize) -> Self {
        let handle = Handle { send: Mutex::new(stream), allowance: AtomicUsize::new(allowance) };
        Self { handle: Arc::new(handle), writing: None }
    }
}

impl quic::SendStream<Bytes> for SendStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            let mut stream = self.handle.send();
            while data.has_remaining() {
                let written =
                    ready!(Pin::new(&mut *stream).poll_write(cx, data.chunk())).map_err(unwritten)?;
                data.advance(written);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.handle.finish();
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, code: u64) {
        self.handle.reset(Code::from(code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.handle.send().id())
    }
}

/// The half on which a request comes.
pub(crate) struct RecvStream {
    pub(super) stream: quinn::RecvStream,
    pub(super) allowance: Allowance,
}

/// Whose bytes a stream's count as, and so what ends when there are too many.
pub(super) enum Allowance {
    Stream(Arc<Handle>),
    Connection(Arc<AtomicUsize>),
}

impl Allowance {
    fn spend(&self, bytes: usize) -> Result<(), StreamErrorIncoming> {
        let left = match self {
            Self::Stream(handle) => &handle.allowance,
            Self::Connection(left) => left,
        };
        let spent =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok();
        match self {
            _ if spent => Ok(()),
            Self::Stream(_) => {
                Err(StreamErrorIncoming::StreamTerminated { error_code: Code::H3_EXCESSIVE_LOAD.value() })
            }
            Self::Connection(_) => {
                let error =
                    ConnectionErrorIncoming::InternalError("more on control streams than allowed".into());
                Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error: error })
            }
        }
    }
}

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        // Dropping the future loses nothing: quinn says so.
        let read = ready!(pin!(self.stream.read_chunk(CHUNK, true)).poll(cx)).map_err(unread)?;
        let Some(chunk) = read else { return Poll::Ready(Ok(None)) };
        if let Err(error) = self.allowance.spend(chunk.bytes.len()) {
            self.stop_sending(Code::H3_EXCESSIVE_LOAD.value());
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(Some(chunk.bytes)))
    }

    fn stop_sending(&mut self, code: u64) {
        let _ = self.stream.stop(error_code(Code::from(code)));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for RecvStream {
    /// Says that the rest is not wanted; quinn would say 0, which means nothing in HTTP/3. Of a
    /// request without a body there is no rest, but it takes a look to see that.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let rest = pin!(self.stream.read_chunk(CHUNK, true)).poll(&mut cx);
        if !matches!(rest, Poll::Ready(Ok(None))) {
            let _ = self.stream.stop(error_code(Code::H3_NO_ERROR));
        }
    }
}

/// Both halves of a request's stream.
pub(crate) struct BidiStream {
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
}

impl quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }
}

impl quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

#[allow(clippy::expect_used, reason = "both have 62 bits")]
fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(quinn::VarInt::from(id).into_inner()).expect("a stream's id")
}

fn unread(error: quinn::ReadError) -> StreamErrorIncoming {
    match error {
        quinn::ReadError::Reset(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        quinn::ReadError::ConnectionLost(error) => {
            StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
        }
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn unwritten(error: quinn::WriteError) -> StreamErrorIncoming {
    match error {
        quinn::WriteError::Stopped(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        quinn::WriteError::ConnectionLost(error) => {
            StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
        }
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
