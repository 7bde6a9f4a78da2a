//! The accept loop: lets connections in within the limit, and serves each in a task of its own.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use pin_project_lite::pin_project;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::Service;

use crate::connection::{self, Begin};
use crate::http1::Detached;
use crate::listener::{Listener, ListenerState, Shutdown};
use crate::permit::ConnectionPermit;
use crate::request::{BoxError, Request, Routes};
use crate::socket::Socket;
use crate::{Metrics, Options};

/// Accepts and serves until the shutdown. Returns when every connection has ended, or at the hard
/// stop.
pub async fn serve<S, B>(
    listener: impl Into<Listener>,
    routes: S,
    options: Options,
    metrics: Metrics,
    shutdown: Shutdown,
) where
    S: Service<Request, Response = http::Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    accept(listener.into(), Routes::new(routes), options, metrics, shutdown).await;
}

async fn accept(listener: Listener, routes: Routes, options: Options, metrics: Metrics, shutdown: Shutdown) {
    let (socket, state) = ListenerState::new(listener, routes, options, metrics, shutdown);
    let ListenerState { shutdown, metrics, tasks, .. } = &*state;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = shutdown.graceful.cancelled() => break,
            () = shutdown.hard.cancelled() => break,
        };
        if let Err(error) = accepted.map(|accepted| state.let_in(accepted)) {
            // Out of files or memory: the clients wait in the backlog, and a pause lets others end.
            tracing::warn!(%error, "accept failed");
            metrics.refused.with_label_values(&["accept"]).inc();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Clients that connected before the end are let in: a listener that closes resets them.
    while let Some(Ok(accepted)) = socket.accept().now_or_never() {
        state.let_in(accepted);
    }
    drop(socket);
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = shutdown.hard.cancelled() => {}
    }
}

impl ListenerState {
    /// Lets a connection in, if there is room.
    fn let_in(self: &Arc<Self>, (socket, peer): (TcpStream, SocketAddr)) {
        let Some(permit) = ConnectionPermit::take(&self.open, self.options.connections) else {
            self.metrics.refused.with_label_values(&["connections"]).inc();
            return;
        };
        if let Err(error) = tune(&socket, &self.options) {
            tracing::debug!(%error, "socket options");
        }
        self.serve(Begin::Fresh(socket), peer.ip(), permit);
    }

    /// Serves a connection in a task of its own.
    fn serve(self: &Arc<Self>, begin: Begin, peer: IpAddr, permit: ConnectionPermit) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let served = connection::run(begin, peer, permit, &this);
            let served = tokio::select! {
                served = served => served,
                () = this.shutdown.hard.cancelled() => return,
            };
            match served {
                Ok(None) => {}
                // A task of its own, a fraction of this one's size: what a connection costs while
                // it is only a stream.
                Ok(Some(detached)) => this.detach(detached, peer),
                Err(error) => tracing::debug!(%error, "connection ended"),
            }
        });
    }

    /// Runs what has taken a connection over in a task of its own.
    fn detach(self: &Arc<Self>, detached: Detached, peer: IpAddr) {
        let this = Arc::clone(self);
        let again = move |socket, permit| this.serve(Begin::Again(socket), peer, permit);
        let hard = self.shutdown.hard.clone();
        self.tasks.spawn(until(detached, self.options.write_deadline, again, hard));
    }
}

fn until(
    detached: Detached,
    write_deadline: Duration,
    again: impl FnOnce(Socket, ConnectionPermit) + Send + 'static,
    hard: CancellationToken,
) -> impl Future<Output = ()> + Send {
    Until { stream: detached.run(write_deadline, again), hard: hard.cancelled_owned() }
}

pin_project! {
    /// A stream, until the hard stop: what `select!` does, without keeping the stream twice.
    struct Until<F> {
        #[pin]
        stream: F,
        #[pin]
        hard: WaitForCancellationFutureOwned,
    }
}

impl<F: Future<Output = ()>> Future for Until<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() { Poll::Ready(()) } else { this.hard.poll(cx) }
    }
}

fn tune(socket: &TcpStream, options: &Options) -> io::Result<()> {
    // An event must not wait for the next one to fill a segment.
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    // A peer that acknowledges nothing is gone: found by the kernel even when nothing but
    // heartbeats is written.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(options.write_deadline))?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its socket, its emitter and the kernel's part, this is what an idle stream costs. What
    /// makes it larger should be worth that.
    #[test]
    fn an_idle_streams_task_is_small() {
        fn size<F>(_: impl Fn(Detached, CancellationToken) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(|detached, hard| until(detached, Duration::ZERO, |_, _| {}, hard));
        assert!(bytes <= 192, "{bytes} bytes");
    }
}
