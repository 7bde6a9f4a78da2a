//! One connection: which protocol it speaks, and its life until the shutdown.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http1::{self, Detached};
use crate::http2;
use crate::listener::ListenerState;
use crate::permit::ConnectionPermit;
use crate::request::ConnectionInfo;
use crate::socket::{DeadlineSocket, Socket};

/// A request that is on its way arrives within this, also from far away.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Where a connection stands.
pub(crate) enum Begin {
    /// Nothing has been said.
    Fresh(TcpStream),
    /// An HTTP/1.1 request has been answered outside of hyper, and there may be another one.
    Again(Socket),
}

/// A connection whose protocol is known.
struct Opened {
    socket: Socket,
    /// What was read of it to tell the protocol.
    prefix: Bytes,
    protocol: Protocol,
    /// By when the first request's head has to be there.
    deadline: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves one connection until it ends, or the shutdown has let its last request finish. The permit
/// lives as long as the connection.
pub(crate) async fn run(
    begin: Begin,
    peer: IpAddr,
    permit: ConnectionPermit,
    listener: &ListenerState,
) -> io::Result<Option<Detached>> {
    let options = &listener.options;
    let shutdown = &listener.shutdown.graceful;
    let opened = match begin {
        Begin::Fresh(socket) => tokio::select! {
            opened = open(socket, listener) => opened?,
            () = last_call(shutdown) => return Ok(None),
        },
        Begin::Again(socket) => Some(Opened {
            socket,
            prefix: Bytes::new(),
            protocol: Protocol::Http1,
            deadline: Instant::now() + http1::IDLE,
        }),
    };
    let Some(Opened { socket, prefix, protocol, deadline }) = opened else { return Ok(None) };
    let io = DeadlineSocket::new(socket, prefix, deadline, options.write_deadline);
    match protocol {
        Protocol::Http1 => http1::serve(io, peer, permit, listener).await,
        Protocol::Http2 => {
            let service = listener.service(io.state(), ConnectionInfo::new(peer, permit.overloaded));
            http2::serve(io, service, options, shutdown, permit.overloaded).await.map(|()| None)
        }
    }
}

/// When a connection on which nothing has been said is closed at the end: its client may be writing
/// already, and would not know whether what it sent was done.
async fn last_call(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(LAST_CALL).await;
}

/// Shakes hands if the listener speaks TLS, and finds out which HTTP the client speaks. None: the
/// client has had its answer.
async fn open(socket: TcpStream, listener: &ListenerState) -> io::Result<Option<Opened>> {
    let options = &listener.options;
    let mut socket = match &listener.tls {
        None => Socket::Plain(socket),
        Some(tls) => match tls.shake_hands(socket, options).await? {
            Some(stream) => Socket::Tls(stream),
            None => return Ok(None),
        },
    };
    let deadline = Instant::now() + options.header_timeout;
    if let Socket::Tls(stream) = &socket
        && let Some(alpn) = stream.alpn()
    {
        let protocol = if alpn == b"h2" { Protocol::Http2 } else { Protocol::Http1 };
        return Ok(Some(Opened { socket, prefix: Bytes::new(), protocol, deadline }));
    }
    let (prefix, protocol) = tokio::time::timeout_at(deadline, sniff(&mut socket)).await??;
    Ok(Some(Opened { socket, prefix, protocol, deadline }))
}

/// Reads until it is clear whether the client speaks HTTP/2 with prior knowledge. Gives back what
/// it read.
async fn sniff(socket: &mut Socket) -> io::Result<(Bytes, Protocol)> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut read = BytesMut::with_capacity(PREFACE.len());
    loop {
        if socket.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = read.len().min(PREFACE.len());
        if read[..length] != PREFACE[..length] {
            return Ok((read.freeze(), Protocol::Http1));
        }
        if length == PREFACE.len() {
            return Ok((read.freeze(), Protocol::Http2));
        }
    }
}
