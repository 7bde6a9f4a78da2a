mod service;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::permit::Connections;
use crate::request::Routes;
use crate::tls::{Acceptor, Certificates};
use crate::unread::Bounds;
use crate::{Metrics, Options};

/// A socket that clients come in by, and what they have to speak on it.
pub struct Listener {
    pub(crate) socket: TcpListener,
    tls: Option<Certificates>,
    connections: Connections,
}

impl Listener {
    /// HTTP/1.1 and HTTP/2 over TLS. Clients that come without get an answer that says so.
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

/// What every connection of a listener needs.
pub(crate) struct ListenerState {
    pub(crate) tls: Option<Acceptor>,
    pub(crate) routes: Routes,
    pub(crate) options: Options,
    /// On what clients send and no route reads.
    pub(crate) bounds: Bounds,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    /// How many connections are open, here and on the listeners that share the count.
    pub(crate) open: Connections,
    /// The tasks of the connections.
    pub(crate) tasks: TaskTracker,
}

impl ListenerState {
    /// The state of a new accept loop, and the socket that it accepts on.
    pub(crate) fn new(
        listener: Listener,
        routes: Routes,
        options: Options,
        metrics: Metrics,
        shutdown: Shutdown,
    ) -> (TcpListener, Arc<Self>) {
        let Listener { socket, tls, connections: open } = listener;
        let tls = tls.map(|certificates| Acceptor::new(certificates, metrics.handshakes.clone()));
        let bounds = Bounds { bytes: options.body_bytes, counter: metrics.unread_bodies.clone() };
        let tasks = TaskTracker::new();
        (socket, Arc::new(Self { tls, routes, options, bounds, metrics, shutdown, open, tasks }))
    }
}
