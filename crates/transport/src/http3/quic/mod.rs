//! QUIC for the HTTP/3 library: quinn's streams behind its traits.
//!
//! Not h3-quinn, for two reasons. A response's stream must be reachable past the library: only
//! there is it heard that an idle client left, and the hub writes to it itself. And the library
//! keeps a frame until all of it is there, however long it says it is: what it may keep is bounded
//! here.

mod stream;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming};
use parking_lot::Mutex;
use quinn::{ConnectionError, VarInt};

use stream::{Allowance, BidiStream, SendStream};
pub(super) use stream::{Handle, RecvStream};

/// Bytes that a client may send on its unidirectional streams: settings, and what it says there of
/// each request (its priority).
const CONTROL: usize = 64 << 10;
const CONTROL_OF_REQUEST: usize = 1 << 10;

type Accepting<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send>>;

/// A connection, as the library sees it.
pub(super) struct Connection {
    opener: Opener,
    bi: Accepting<(quinn::SendStream, quinn::RecvStream)>,
    uni: Accepting<quinn::RecvStream>,
    requests: Requests,
    control: Arc<AtomicUsize>,
    /// Bytes that may come of a request before its head is whole.
    head: usize,
}

/// The way past the library for the task that drives the connection.
#[derive(Clone, Default)]
pub(super) struct Requests(Arc<Mutex<Accepted>>);

#[derive(Default)]
struct Accepted {
    latest: Option<Arc<Handle>>,
    closed: bool,
}

impl Requests {
    /// The stream of the request that the library has given out last.
    pub(super) fn latest(&self) -> Option<Arc<Handle>> {
        self.0.lock().latest.take()
    }

    /// From now on requests are rejected: their clients may send them to another node. The library
    /// does not hear of them; it would let one too many in, and take the connection for finished.
    pub(super) fn close(&self) {
        self.0.lock().closed = true;
    }
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection, requests: Requests, head: usize) -> Self {
        Self {
            bi: accept_bi(connection.clone()),
            uni: accept_uni(connection.clone()),
            opener: Opener { connection, opening: None },
            requests,
            control: Arc::new(AtomicUsize::new(CONTROL)),
            head,
        }
    }
}

fn accept_bi(connection: quinn::Connection) -> Accepting<(quinn::SendStream, quinn::RecvStream)> {
    Box::pin(async move { connection.accept_bi().await })
}

fn accept_uni(connection: quinn::Connection) -> Accepting<quinn::RecvStream> {
    Box::pin(async move { connection.accept_uni().await })
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.uni.as_mut().poll(cx));
        self.uni = accept_uni(self.opener.connection.clone());
        let stream = accepted.map_err(lost)?;
        Poll::Ready(Ok(RecvStream { stream, allowance: Allowance::Connection(Arc::clone(&self.control)) }))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        loop {
            let accepted = ready!(self.bi.as_mut().poll(cx));
            self.bi = accept_bi(self.opener.connection.clone());
            let (mut send, mut stream) = accepted.map_err(lost)?;
            let mut requests = self.requests.0.lock();
            if requests.closed {
                let _ = send.reset(error_code(Code::H3_REQUEST_REJECTED));
                let _ = stream.stop(error_code(Code::H3_REQUEST_REJECTED));
                continue;
            }
            let send = SendStream::new(send, self.head);
            let handle = Arc::clone(&send.handle);
            requests.latest = Some(Arc::clone(&handle));
            self.control.fetch_add(CONTROL_OF_REQUEST, Ordering::Relaxed);
            let recv = RecvStream { stream, allowance: Allowance::Stream(handle) };
            return Poll::Ready(Ok(BidiStream { send, recv }));
        }
    }

    fn opener(&self) -> Opener {
        Opener { connection: self.opener.connection.clone(), opening: None }
    }
}

/// Opens the server's own streams.
pub(super) struct Opener {
    connection: quinn::Connection,
    opening: Option<Accepting<quinn::SendStream>>,
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        Poll::Ready(Err(unknown("a server opens no stream in both directions")))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opening = self.opening.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await })
        });
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening = None;
        let stream = opened.map_err(|error| StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: lost(error),
        })?;
        Poll::Ready(Ok(SendStream::new(stream, 0)))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.connection.close(error_code(code), reason);
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

/// An HTTP/3 code in QUIC's type. None of those that there are is too large for it.
pub(super) fn error_code(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn unknown(what: &'static str) -> StreamErrorIncoming {
    StreamErrorIncoming::Unknown(what.into())
}
