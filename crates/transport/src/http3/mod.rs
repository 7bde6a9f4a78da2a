//! HTTP/3: the same routes over QUIC, on UDP.

mod body;
mod connection;
mod quic;
mod request;
mod stream;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use h3::error::Code;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::SockRef;
use tokio_util::task::TaskTracker;
use tower::Service;

use connection::Connection;
use quic::error_code;

use crate::listener::Shutdown;
use crate::permit::{ConnectionPermit, Connections};
use crate::request::{BoxError, Request, Routes};
use crate::tls::Certificates;
use crate::{Metrics, Options};

/// A client that is not heard of for so long is gone: minutes, for a phone that slept or changed
/// networks goes on where it was.
const IDLE: Duration = Duration::from_secs(300);

/// A client that is not heard of for so long is sent a PING. Home routers and mobile networks
/// forget a UDP flow after 30 s at the earliest. Longer than a stream's heartbeats are apart (15 s
/// ±10 %): a connection that has a stream is kept by those and costs nothing more.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Bytes of one request body that may be under way: a publish request fits as a rule, and a larger
/// one waits for a round trip.
const STREAM_WINDOW: u32 = 128 << 10;

/// The same for all of a connection's requests.
const RECEIVE_WINDOW: u32 = 512 << 10;

/// Bytes on their way to one client that it has not acknowledged: what one stream's outbox may
/// hold. Frames are shared by all connections that they go to.
const SEND_WINDOW: u64 = 1 << 20;

/// Unidirectional streams of a client: HTTP/3 has three (control, and two of QPACK), the rest is
/// for what clients try out.
const UNI_STREAMS: u32 = 8;

/// Requests and streams at once that a new connection is allowed; it gets more as it uses them, up
/// to `limits.h2_streams`. quinn keeps a place for each that there could be (84 bytes), and most
/// clients never have more than a few.
const FIRST_STREAMS: u32 = 16;

/// Handshakes under way. Beyond it a client has to show first that it is where it says (Retry: one
/// more round trip), so that forged addresses cost no more than this many half-open connections.
const HANDSHAKES: usize = 128;

/// What came before the server has looked at it: for one connection, and for all of them.
const INCOMING: usize = 1_024;
const INCOMING_BYTES: u64 = 64 << 10;
const ALL_INCOMING_BYTES: u64 = 8 << 20;

/// The socket's buffers, one for all connections: after a restart all clients come at once, each
/// with a packet that counts as 2 kB or more.
const BUFFER: usize = 4 << 20;

/// How long the clients are told of a hard stop. They would find out by themselves, but only after
/// minutes.
const FAREWELL: Duration = Duration::from_millis(100);

/// An HTTP/3 listener.
pub struct Http3 {
    endpoint: Endpoint,
    certificates: Certificates,
    /// With the certificate that the latest connection saw.
    config: Arc<ServerConfig>,
    shown: Arc<QuicServerConfig>,
    connections: Connections,
}

/// What all connections share.
struct Shared {
    routes: Routes,
    options: Options,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl Http3 {
    /// Listens on `socket` with the certificate that TCP shows. Must be called on a runtime.
    ///
    /// `node`, if not empty, is this node's name and no other's: see [`endpoint`].
    pub fn new(
        socket: UdpSocket,
        certificates: &Certificates,
        options: &Options,
        node: &str,
    ) -> io::Result<Self> {
        let buffers = SockRef::from(&socket);
        // The kernel cuts them to what it allows.
        if let Err(error) =
            buffers.set_recv_buffer_size(BUFFER).and_then(|()| buffers.set_send_buffer_size(BUFFER))
        {
            tracing::debug!(%error, "socket options");
        }
        let shown = certificates.quic();
        let mut config = ServerConfig::with_crypto(Arc::clone(&shown) as Arc<_>);
        config
            .transport_config(Arc::new(transport(options)?))
            .max_incoming(INCOMING)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(ALL_INCOMING_BYTES);
        let endpoint = endpoint(certificates, node);
        let endpoint = Endpoint::new(endpoint, Some(config.clone()), socket, Arc::new(TokioRuntime))?;
        let (certificates, config) = (certificates.clone(), Arc::new(config));
        Ok(Self { endpoint, certificates, config, shown, connections: Connections::default() })
    }

    /// Counts its connections together with others'.
    #[must_use]
    pub fn counted(self, connections: &Connections) -> Self {
        Self { connections: connections.clone(), ..self }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// The configuration of a new connection, with the certificate in force.
    fn config(&mut self) -> Arc<ServerConfig> {
        let current = self.certificates.quic();
        if !Arc::ptr_eq(&current, &self.shown) {
            Arc::make_mut(&mut self.config).crypto = Arc::clone(&current) as Arc<_>;
            self.shown = current;
        }
        Arc::clone(&self.config)
    }

    /// Accepts and serves until the shutdown. Returns when every connection has ended, or at the
    /// hard stop.
    pub async fn serve<S, B>(self, routes: S, options: Options, metrics: Metrics, shutdown: Shutdown)
    where
        S: Service<Request, Response = http::Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.accept(Shared { routes: Routes::new(routes), options, metrics, shutdown }).await;
    }

    async fn accept(mut self, shared: Shared) {
        let connections = TaskTracker::new();
        let handshakes = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(shared);
        let Shared { metrics, shutdown, .. } = &*shared;
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                () = shutdown.graceful.cancelled() => break,
                () = shutdown.hard.cancelled() => break,
            };
            let Some(incoming) = incoming else { break };
            let Some(incoming) = validated(incoming, &handshakes, metrics) else { continue };
            let Some(permit) = ConnectionPermit::take(&self.connections, shared.options.connections) else {
                metrics.refused.with_label_values(&["connections"]).inc();
                incoming.refuse();
                continue;
            };
            match incoming.accept_with(self.config()) {
                Ok(connecting) => {
                    let handshake = Handshake::begin(&handshakes);
                    let connection = Connection::new(Arc::clone(&shared), permit);
                    connections.spawn(connection.run(connecting, handshake));
                }
                Err(error) => tracing::debug!(%error, "QUIC handshake"),
            }
        }
        connections.close();
        let refusing = async {
            // A client that is told so at once goes to another node, or tries TCP; one that hears
            // nothing waits.
            while let Some(incoming) = self.endpoint.accept().await {
                incoming.refuse();
            }
        };
        tokio::select! {
            () = connections.wait() => {}
            () = refusing => {}
            () = shutdown.hard.cancelled() => {}
        }
        self.endpoint.close(error_code(Code::H3_NO_ERROR), b"");
        let stopped = async {
            shutdown.hard.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = self.endpoint.wait_idle() => {}
            () = stopped => {}
        }
    }
}

/// Lets a connection in, or sends its client back for a proof of its address.
fn validated(incoming: Incoming, handshakes: &AtomicUsize, metrics: &Metrics) -> Option<Incoming> {
    if incoming.remote_address_validated() || handshakes.load(Ordering::Relaxed) < HANDSHAKES {
        return Some(incoming);
    }
    metrics.retries.inc();
    // It fails only for a validated address.
    let _ = incoming.retry();
    None
}

/// Counts a handshake while it is under way.
struct Handshake(Arc<AtomicUsize>);

impl Handshake {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A node that died and was started again knows nothing of its clients' connections, but can tell
/// them so at once, in words that only it knows (stateless reset): else they would wait for
/// minutes. For that its words have to be the same as before, and others' be different: with shared
/// ones a stranger could ask one node for the end of another's connections (RFC 9000, section
/// 21.11).
fn endpoint(certificates: &Certificates, node: &str) -> EndpointConfig {
    let derived = |what: &str| certificates.derived(&format!("tidegate QUIC {what} {node}"));
    let (Some(reset), Some(ids), false) = (derived("reset"), derived("ids"), node.is_empty()) else {
        return EndpointConfig::default();
    };
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset)));
    let ids = ids.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}

fn transport(options: &Options) -> io::Result<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE.try_into().map_err(io::Error::other)?))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(options.h2_streams.min(FIRST_STREAMS).into())
        .max_concurrent_uni_streams(UNI_STREAMS.into())
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        // Nothing here speaks in datagrams.
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0);
    Ok(transport)
}
