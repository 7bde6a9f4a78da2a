//! One connection: which protocol it speaks, and its life until the shutdown.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::{Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::Limits;
use crate::io::{Control, Io};

/// What a route may know of the connection that its request came on.
#[derive(Clone)]
pub(crate) struct Connection {
    /// Set on HTTP/1.1, where a stream has the connection to itself.
    pub(crate) control: Option<Arc<Control>>,
    /// The node has as many connections as it may: this one is told so and closed.
    pub(crate) overloaded: bool,
}

/// How long an HTTP/1.1 connection may stay idle between requests: more than the 60 s for which nginx and ALB keep theirs, so that
/// it is they who close, and no request meets a closed connection.
const IDLE: Duration = Duration::from_secs(75);

/// A dead peer of an HTTP/2 connection is found by a PING this often.
const PING: Duration = Duration::from_secs(20);

/// Serves one connection until it ends, or the shutdown has let its last request finish.
pub(crate) async fn run(
    mut socket: TcpStream,
    router: Router,
    limits: Limits,
    overloaded: bool,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let deadline = Instant::now() + limits.header_timeout;
    let reading = sniff(&mut socket);
    let (prefix, h2) = tokio::select! {
        read = tokio::time::timeout_at(deadline, reading) => read.map_err(|_| io::ErrorKind::TimedOut)??,
        () = shutdown.cancelled() => return Ok(()),
    };
    let io = Io::new(socket, prefix, deadline, limits.write_deadline);
    let control = io.control();
    let connection = Connection { control: (!h2).then(|| Arc::clone(&control)), overloaded };
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        control.served();
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    if h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.h2_streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
        let result = tokio::select! {
            result = served.as_mut() => result,
            () = shutdown.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        return result.map_err(io::Error::other);
    }
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(limits.header_bytes.max(8_192))
        .keep_alive(!overloaded);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    result.map_err(io::Error::other)
}

/// Reads until it is clear whether the client speaks HTTP/2 with prior knowledge. Gives back what it read.
async fn sniff(socket: &mut TcpStream) -> io::Result<(Bytes, bool)> {
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
