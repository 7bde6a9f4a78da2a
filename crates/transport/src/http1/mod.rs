//! HTTP/1.1: served by hyper until a response takes the socket over.

mod detached;
mod poll;
mod stream;

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;

use crate::listener::ListenerState;
use crate::permit::ConnectionPermit;
use crate::request::{self, ConnectionInfo};
use crate::socket::DeadlineSocket;
use crate::takeover::{Owner, Takeover};
use crate::unread::linger;

pub(crate) use detached::Detached;

/// How long an HTTP/1.1 connection may stay idle between requests: more than the 60 s for which
/// nginx and ALB keep theirs, so that it is they who close, and no request meets a closed
/// connection.
pub(crate) const IDLE: Duration = Duration::from_secs(75);

/// Serves a connection until it ends, or until a response has taken it over.
pub(crate) async fn serve(
    io: DeadlineSocket,
    peer: IpAddr,
    permit: ConnectionPermit,
    listener: &ListenerState,
) -> io::Result<Option<Detached>> {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(listener.options.header_bytes.max(8_192))
        // A client that closes its side behind a request may still wait for the answer.
        .half_close(true)
        .keep_alive(!permit.overloaded);
    let socket = io.state();
    let takeover = Arc::new(Takeover::of(Arc::clone(&socket)));
    let info = ConnectionInfo::new(peer, permit.overloaded);
    let service = listener.service(Arc::clone(&socket), info.clone().with_takeover(&takeover));
    let mut served = builder.serve_connection(TokioIo::new(io), service);
    let mut closing = std::pin::pin!(listener.shutdown.graceful.cancelled());
    let mut open = true;
    let owner = poll_fn(|cx| {
        // First what has arrived: a connection without a request in work is closed at once.
        let mut polled = served.poll_without_shutdown(cx);
        if polled.is_pending() && open && closing.as_mut().poll(cx).is_ready() {
            open = false;
            Pin::new(&mut served).graceful_shutdown();
            polled = served.poll_without_shutdown(cx);
        }
        match polled {
            task::Poll::Ready(result) => task::Poll::Ready(result.map(|()| takeover.take_upgraded())),
            task::Poll::Pending => match takeover.take() {
                Some(owner) => task::Poll::Ready(Ok(Some(owner))),
                None => task::Poll::Pending,
            },
        }
    });
    let ended = owner.await;
    let parts = served.into_parts();
    let mut io = parts.io.into_inner();
    match ended {
        Ok(Some(owner)) => {
            // Even empty, the bytes would keep hyper's read buffer alive.
            let early = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
            if !early.is_empty() && !matches!(owner, Owner::WebSocket(_)) {
                // No client has reason to send more behind the request of a stream or poll, and
                // nothing would answer it.
                return Ok(None);
            }
            return Ok(Some(Detached { socket: io.into_socket(), early, owner, permit }));
        }
        Ok(None) => {}
        Err(error) => match socket.kept_back() {
            Some(status) => request::answer(&mut io, status, &parts.read_buf, info, &listener.routes).await?,
            None => return Err(io::Error::other(error)),
        },
    }
    io.shutdown().await?;
    let mid_request = !takeover.request_is_whole() || !parts.read_buf.is_empty();
    drop(parts.read_buf);
    linger(io.into_socket().into_tcp(), mid_request, listener.options.body_bytes).await;
    Ok(None)
}
