//! One connection: which protocol it speaks, and its life until the shutdown.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::Either;
use http::Version;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntCounterVec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::io::{Control, Io, Socket};
use crate::poll::{self, Poll};
use crate::serve::{Attendant, Open};
use crate::stream::Opened;
use crate::tls::{self, Accepted, Certificates, TlsLine};
use crate::unread::{RequestBody, linger};
use crate::ws::{self, Session};
use crate::{Limits, h2, unreadable, wire};

/// What a route may know of the connection that its request came on.
#[derive(Clone)]
pub(crate) struct Connection {
    /// Where to leave a stream for whoever writes it from then on: set on HTTP/1 and HTTP/3.
    pub(crate) driver: Option<Arc<Control>>,
    /// Who is at the other end: a client, or a proxy before it. See [`crate::admission`].
    pub(crate) peer: IpAddr,
    /// The node has as many connections as it may: this one is told so and closed.
    pub(crate) overloaded: bool,
}

/// How long an HTTP/1.1 connection may stay idle between requests: more than the 60 s for which nginx and ALB keep theirs, so that
/// it is they who close, and no request meets a closed connection.
const IDLE: Duration = Duration::from_secs(75);

/// A request that is on its way arrives within this, also from far away.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Serves one connection until it ends, or the shutdown has let its last request finish. `guard` lives as long as the connection.
pub(crate) async fn run(
    begin: Begin,
    peer: IpAddr,
    guard: Open,
    attendant: &Attendant,
) -> io::Result<Option<Taken>> {
    let Attendant { tls, limits, .. } = attendant;
    let shutdown = &attendant.shutdown.graceful;
    let opened = match begin {
        Begin::Fresh(socket) => tokio::select! {
            opened = open(socket, tls.as_ref(), limits) => opened?,
            () = last_call(shutdown) => return Ok(None),
        },
        Begin::Again(socket) => Some((socket, Bytes::new(), false, Instant::now() + IDLE)),
    };
    let Some((socket, prefix, h2, deadline)) = opened else { return Ok(None) };
    let io = Io::new(socket, prefix, deadline, limits.write_deadline);
    if h2 {
        let connection = Connection { driver: None, peer, overloaded: guard.overloaded };
        let service = service(attendant, io.control(), connection);
        h2::serve(io, service, limits, shutdown).await.map(|()| None)
    } else {
        serve_h1(io, peer, guard, attendant).await
    }
}

/// When a connection on which nothing has been said is closed at the end: its client may be writing already, and would not know
/// whether what it sent was done.
async fn last_call(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(LAST_CALL).await;
}

/// Where a connection stands.
pub(crate) enum Begin {
    /// Nothing has been said.
    Fresh(TcpStream),
    /// An HTTP/1.1 request has been answered outside of hyper, and there may be another one.
    Again(Socket),
}

/// How connections of a listener with TLS begin.
#[derive(Clone)]
pub(crate) struct Secure {
    pub(crate) certificates: Certificates,
    /// By what became of them.
    pub(crate) handshakes: IntCounterVec,
}

/// Shakes hands if the listener speaks TLS, and finds out which HTTP the client speaks. Gives the socket, what was read of it for that, whether
/// it is HTTP/2, and by when the first request's head has to be there.
async fn open(
    socket: TcpStream,
    tls: Option<&Secure>,
    limits: &Limits,
) -> io::Result<Option<(Socket, Bytes, bool, Instant)>> {
    let mut socket = match tls {
        None => Socket::Plain(socket),
        Some(secure) => match secure.shake_hands(socket, limits).await? {
            Some(stream) => Socket::Tls(stream),
            None => return Ok(None),
        },
    };
    let deadline = Instant::now() + limits.header_timeout;
    if let Socket::Tls(stream) = &socket
        && let Some(protocol) = stream.alpn()
    {
        let h2 = protocol == b"h2";
        return Ok(Some((socket, Bytes::new(), h2, deadline)));
    }
    let (prefix, h2) = tokio::time::timeout_at(deadline, sniff(&mut socket)).await??;
    Ok(Some((socket, prefix, h2, deadline)))
}

impl Secure {
    async fn shake_hands(&self, socket: TcpStream, limits: &Limits) -> io::Result<Option<Box<tls::Stream>>> {
        let limit = limits.header_timeout;
        let accepted = tokio::time::timeout(limit, tls::accept(socket, &self.certificates)).await;
        let count = |result| self.handshakes.with_label_values(&[result]).inc();
        match accepted {
            Ok(Ok(Accepted::Tls(stream))) => {
                count("ok");
                Ok(Some(stream))
            }
            Ok(Ok(Accepted::Cleartext(socket))) => {
                count("cleartext");
                tokio::time::timeout(limit, tls::turn_away(socket, limits.body_bytes)).await??;
                Ok(None)
            }
            Ok(Err(error)) => {
                count("failed");
                Err(error)
            }
            Err(elapsed) => {
                count("timeout");
                Err(elapsed.into())
            }
        }
    }
}

/// A stream that has left hyper, with all that its task needs.
pub(crate) struct Taken {
    socket: Socket,
    early: Bytes,
    kind: Kind,
    guard: Open,
}

/// What it is from now on.
enum Kind {
    Stream(Opened),
    Poll(Poll),
    WebSocket(Box<Session>),
}

impl Taken {
    /// Runs the stream to its end. A connection that can serve further requests is given to `again`.
    pub(crate) fn run(
        self,
        write_deadline: Duration,
        again: impl FnOnce(Socket, Open) + Send + 'static,
    ) -> impl Future<Output = ()> + Send {
        let Self { socket, early, kind, guard } = self;
        let opened = match kind {
            Kind::Stream(opened) => opened,
            // Boxed: a stream's task is not to be as large.
            Kind::WebSocket(session) => {
                return Either::Left(Box::pin(ws::run(socket, early, session, guard)) as Pin<Box<_>>);
            }
            Kind::Poll(poll) => {
                // Even empty it would keep hyper's read buffer alive.
                let early = !early.is_empty();
                let waits: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                    let socket = match socket {
                        _ if early => None,
                        Socket::Plain(socket) => poll::run(Arc::new(socket), poll, write_deadline).await,
                        Socket::Tls(stream) => {
                            poll::run(Arc::new(TlsLine::from(*stream)), poll, write_deadline).await
                        }
                    };
                    if let Some(socket) = socket {
                        again(socket, guard);
                    }
                });
                return Either::Left(waits);
            }
        };
        let Opened { subscription, counted, framing, .. } = opened;
        let held = (counted, guard);
        // Even empty it would keep hyper's read buffer alive.
        let early = !early.is_empty();
        Either::Right(match socket {
            Socket::Plain(socket) => {
                Either::Left(wire::run(Arc::new(socket), early, framing, subscription, held))
            }
            Socket::Tls(stream) => {
                let line = Arc::new(TlsLine::from(*stream));
                Either::Right(wire::run(line, early, framing, subscription, held))
            }
        })
    }
}

async fn serve_h1(io: Io, peer: IpAddr, guard: Open, attendant: &Attendant) -> io::Result<Option<Taken>> {
    let limits = &attendant.limits;
    let control = io.control();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(limits.header_bytes.max(8_192))
        // A client that closes its side behind a request may still wait for the answer.
        .half_close(true)
        .keep_alive(!guard.overloaded);
    let connection = Connection { driver: Some(io.control()), peer, overloaded: guard.overloaded };
    let service = service(attendant, io.control(), connection);
    let mut served = builder.serve_connection(TokioIo::new(io), service);
    let mut closing = std::pin::pin!(attendant.shutdown.graceful.cancelled());
    let mut open = true;
    let kind = poll_fn(|cx| {
        // First what has arrived: a connection without a request in work is closed at once.
        let mut polled = served.poll_without_shutdown(cx);
        if polled.is_pending() && open && closing.as_mut().poll(cx).is_ready() {
            open = false;
            Pin::new(&mut served).graceful_shutdown();
            polled = served.poll_without_shutdown(cx);
        }
        match polled {
            task::Poll::Ready(result) => {
                task::Poll::Ready(result.map(|()| control.upgraded().map(Kind::WebSocket)))
            }
            task::Poll::Pending => {
                let kind =
                    control.take_over().map(Kind::Stream).or_else(|| control.take_poll().map(Kind::Poll));
                kind.map_or(task::Poll::Pending, |kind| task::Poll::Ready(Ok(Some(kind))))
            }
        }
    });
    let ended = kind.await;
    let parts = served.into_parts();
    let mut io = parts.io.into_inner();
    match ended {
        Ok(Some(kind)) => {
            return Ok(Some(Taken { socket: io.into_socket(), early: parts.read_buf, kind, guard }));
        }
        Ok(None) => {}
        Err(error) => match control.refused() {
            Some(status) => {
                let about = Connection { driver: None, peer, overloaded: guard.overloaded };
                unreadable::answer(&mut io, status, &parts.read_buf, about, &attendant.router).await?;
            }
            None => return Err(io::Error::other(error)),
        },
    }
    io.shutdown().await?;
    let more = !control.is_whole() || !parts.read_buf.is_empty();
    drop(parts.read_buf);
    linger(io.into_socket().into_tcp(), more, attendant.bounds.bytes).await;
    Ok(None)
}

/// The router, telling each request what it may know of its connection, and what becomes of a body
/// that it leaves.
fn service(
    attendant: &Attendant,
    control: Arc<Control>,
    connection: Connection,
) -> impl Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future = Pin<Box<dyn Future<Output = Result<axum::response::Response, Infallible>> + Send>>,
> + Unpin {
    let (router, bounds) = (attendant.router.clone(), attendant.bounds.clone());
    let head = attendant.limits.header_bytes;
    service_fn(move |request: Request<Incoming>| {
        let http1 = request.version() < Version::HTTP_2;
        let (mut parts, body) = request.into_parts();
        let (body, arrival) = RequestBody::new(body, &parts.headers);
        control.served(http1.then(|| Arc::clone(&arrival)));
        parts.extensions.insert(connection.clone());
        unreadable::mark(&mut parts, head);
        let answer = router.clone().oneshot(Request::from_parts(parts, axum::body::Body::new(body)));
        let bounds = bounds.clone();
        Box::pin(async move {
            let mut response = answer.await?;
            arrival.answered(&mut response, &bounds, http1);
            Ok(response)
        }) as Pin<Box<dyn Future<Output = _> + Send>>
    })
}

/// Reads until it is clear whether the client speaks HTTP/2 with prior knowledge. Gives back what it read.
async fn sniff(socket: &mut Socket) -> io::Result<(Bytes, bool)> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut read = BytesMut::with_capacity(PREFACE.len());
    loop {
        if socket.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = read.len().min(PREFACE.len());
        if read[..length] != PREFACE[..length] {
            return Ok((read.freeze(), false));
        }
        if length == PREFACE.len() {
            return Ok((read.freeze(), true));
        }
    }
}
