use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use pin_project_lite::pin_project;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use crate::connection::{Begin, Secure, Taken};
use crate::io::Socket;
use crate::tls::Certificates;
use crate::unread::Bounds;
use crate::{Limits, Metrics, connection};

/// A socket that clients come in by, and what they have to speak on it.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Certificates>,
    connections: Connections,
}

/// How many connections are open on all the listeners that share it: they have one limit.
#[derive(Clone, Default)]
pub struct Connections(Arc<AtomicUsize>);

impl Listener {
    /// HTTP/1.1 and HTTP/2 over TLS. Whoever comes without gets an answer that says so.
    pub fn tls(socket: TcpListener, certificates: &Certificates) -> Self {
        Self { socket, tls: Some(certificates.clone()), connections: Connections::default() }
    }

    /// Counts its connections together with others'.
    #[must_use]
    pub fn counted(self, connections: &Connections) -> Self {
        Self { connections: connections.clone(), ..self }
    }
}

impl From<TcpListener> for Listener {
    /// HTTP/1.1, and HTTP/2 with prior knowledge, in the clear.
    fn from(socket: TcpListener) -> Self {
        Self { socket, tls: None, connections: Connections::default() }
    }
}

/// Ends a server in two steps.
#[derive(Clone, Default)]
pub struct Shutdown {
    /// Accept no more; let requests that run finish, and streams until the hub closes them.
    pub graceful: CancellationToken,
    /// Drop everything.
    pub hard: CancellationToken,
}

/// Accepts and serves until the shutdown. Returns when every connection has ended, or at the hard stop.
pub async fn serve(
    listener: impl Into<Listener>,
    router: Router,
    limits: Limits,
    metrics: Metrics,
    shutdown: Shutdown,
) {
    let Listener { socket: listener, tls, connections: open } = listener.into();
    let tls = tls.map(|certificates| Secure { certificates, handshakes: metrics.handshakes.clone() });
    let connections = TaskTracker::new();
    let bounds = Bounds { bytes: limits.body_bytes, counter: metrics.unread_bodies.clone() };
    let attendant = Arc::new(Attendant { tls, router, limits, bounds, shutdown, connections });
    let Attendant { shutdown, connections, .. } = &*attendant;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.graceful.cancelled() => break,
            () = shutdown.hard.cancelled() => break,
        };
        if let Err(error) = accepted.map(|accepted| attendant.receive(accepted, &open, &metrics)) {
            // Out of files or memory: the clients wait in the backlog, and a pause lets others end.
            tracing::warn!(%error, "accept failed");
            metrics.refused.with_label_values(&["accept"]).inc();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Whoever knocked before the end is let in: a listener that goes resets those who wait before it.
    while let Some(Ok(accepted)) = listener.accept().now_or_never() {
        attendant.receive(accepted, &open, &metrics);
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = shutdown.hard.cancelled() => {}
    }
}

/// What every connection of a listener needs.
pub(crate) struct Attendant {
    pub(crate) tls: Option<Secure>,
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    /// On what clients send and no route reads.
    pub(crate) bounds: Bounds,
    pub(crate) shutdown: Shutdown,
    connections: TaskTracker,
}

impl Attendant {
    /// Lets a connection in, if there is room.
    fn receive(
        self: &Arc<Self>,
        (socket, peer): (TcpStream, SocketAddr),
        open: &Connections,
        metrics: &Metrics,
    ) {
        let Some(guard) = Open::enter(open, &self.limits) else {
            metrics.refused.with_label_values(&["connections"]).inc();
            return;
        };
        if let Err(error) = tune(&socket, &self.limits) {
            tracing::debug!(%error, "socket options");
        }
        self.attend(Begin::Fresh(socket), peer.ip(), guard);
    }

    /// Serves a connection in a task of its own.
    fn attend(self: &Arc<Self>, begin: Begin, peer: IpAddr, guard: Open) {
        let this = Arc::clone(self);
        self.connections.spawn(async move {
            let served = connection::run(begin, peer, guard, &this);
            let served = tokio::select! {
                served = served => served,
                () = this.shutdown.hard.cancelled() => return,
            };
            match served {
                Ok(None) => {}
                // A task of its own, a fraction of this one's size: what a connection costs while it is only a stream.
                Ok(Some(taken)) => this.let_be(taken, peer),
                Err(error) => tracing::debug!(%error, "connection ended"),
            }
        });
    }

    fn let_be(self: &Arc<Self>, taken: Taken, peer: IpAddr) {
        let this = Arc::clone(self);
        let again = move |socket, guard| this.attend(Begin::Again(socket), peer, guard);
        self.connections.spawn(until(taken, self.limits.write_deadline, again, self.shutdown.hard.clone()));
    }
}

fn until(
    taken: Taken,
    write_deadline: Duration,
    again: impl FnOnce(Socket, Open) + Send + 'static,
    hard: CancellationToken,
) -> impl Future<Output = ()> + Send {
    Until { stream: taken.run(write_deadline, again), hard: hard.cancelled_owned() }
}

pin_project! {
    /// A stream, until the hard stop: what `select!` does, without a second place for the stream.
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

/// Counts a connection while it lives.
pub(crate) struct Open {
    count: Connections,
    pub(crate) overloaded: bool,
}

impl Open {
    /// Beyond the limit, a sixteenth more is let in to be told so; the rest is closed unheard.
    pub(crate) fn enter(count: &Connections, limits: &Limits) -> Option<Self> {
        let now = count.0.fetch_add(1, Ordering::Relaxed) + 1;
        let open = Self { count: count.clone(), overloaded: now > limits.connections };
        (now <= limits.connections + limits.connections / 16 + 1).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn tune(socket: &TcpStream, limits: &Limits) -> io::Result<()> {
    // An event must not wait for the next one to fill a segment.
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    // A peer that acknowledges nothing is gone: found by the kernel even when nothing but heartbeats is written.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.write_deadline))?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its socket, its emitter and the kernel's part, this is what an idle stream costs. What makes it larger should be worth that.
    #[test]
    fn an_idle_streams_task_is_small() {
        fn size<F>(_: impl Fn(Taken, CancellationToken) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size(|taken, hard| until(taken, Duration::ZERO, |_, _| {}, hard));
        assert!(bytes <= 192, "{bytes} bytes");
    }
}
