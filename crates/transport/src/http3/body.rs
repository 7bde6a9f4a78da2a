//! A request's body, as it arrives.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use h3::server::RequestStream;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};

use super::quic::RecvStream;

pub(super) struct Incoming {
    stream: RequestStream<RecvStream, Bytes>,
    /// What is missing of the length that was announced.
    left: Option<u64>,
}

impl Incoming {
    pub(super) fn new(stream: RequestStream<RecvStream, Bytes>, headers: &HeaderMap) -> Self {
        let length =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { stream, left: length }
    }

    /// Whether nothing more of it comes. May take some of it: only for a body that no route reads.
    pub(super) fn is_over(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(Pin::new(self).poll_frame(&mut cx), Poll::Ready(None | Some(Err(_))))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut chunk = match ready!(self.stream.poll_recv_data(cx)) {
            Ok(Some(chunk)) => chunk,
            Ok(None) if self.left.is_some_and(|left| left > 0) => {
                return Poll::Ready(Some(Err(other("it is shorter than its Content-Length"))));
            }
            Ok(None) => return Poll::Ready(None),
            Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
        };
        let chunk = chunk.copy_to_bytes(chunk.remaining());
        if let Some(left) = &mut self.left {
            match left.checked_sub(chunk.len() as u64) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Some(Err(other("it is longer than its Content-Length")))),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn other(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
