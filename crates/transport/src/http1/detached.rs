use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;

use super::{poll, stream};
use crate::permit::ConnectionPermit;
use crate::poll::Poll;
use crate::socket::{DetachedTls, Socket};
use crate::takeover::{OpenStream, Owner};
use crate::websocket;

/// A connection that has left hyper, with all that its task needs.
pub(crate) struct Detached {
    pub(super) socket: Socket,
    /// What was read of the socket behind the handshake of a WebSocket.
    pub(super) early: Bytes,
    pub(super) owner: Owner,
    pub(super) permit: ConnectionPermit,
}

impl Detached {
    /// Runs it to its end. A connection that can serve further requests is given to `again`.
    pub(crate) fn run(
        self,
        write_deadline: Duration,
        again: impl FnOnce(Socket, ConnectionPermit) + Send + 'static,
    ) -> impl Future<Output = ()> + Send {
        let Self { socket, early, owner, permit } = self;
        let open = match owner {
            Owner::Stream(open) => open,
            // Boxed: a stream's task is not to be as large.
            Owner::WebSocket(session) => {
                return Either::Left(Box::pin(websocket::run(socket, early, session, permit)) as Pin<Box<_>>);
            }
            Owner::Poll(waiting) => {
                let waits: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                    if let Some(socket) = answer(socket, waiting, write_deadline).await {
                        again(socket, permit);
                    }
                });
                return Either::Left(waits);
            }
        };
        let OpenStream { subscription, permit: stream_permit, framing } = open;
        let permits = (stream_permit, permit);
        Either::Right(match socket {
            Socket::Plain(socket) => {
                Either::Left(stream::run(Arc::new(socket), framing, subscription, permits))
            }
            Socket::Tls(tls) => {
                let socket = Arc::new(DetachedTls::from(*tls));
                Either::Right(stream::run(socket, framing, subscription, permits))
            }
        })
    }
}

/// Waits for a poll's answer and writes it.
async fn answer(socket: Socket, waiting: Poll, write_deadline: Duration) -> Option<Socket> {
    match socket {
        Socket::Plain(socket) => poll::run(Arc::new(socket), waiting, write_deadline).await,
        Socket::Tls(tls) => poll::run(Arc::new(DetachedTls::from(*tls)), waiting, write_deadline).await,
    }
}
