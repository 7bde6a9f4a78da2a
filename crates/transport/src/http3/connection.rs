//! One QUIC connection, from its handshake until the last of its requests has been answered.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use h3::error::Code;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;

use super::quic::{self, Requests, error_code};
use super::request::Request;
use super::{FIRST_STREAMS, Handshake, Shared};
use crate::permit::ConnectionPermit;
use crate::request::ConnectionInfo;

/// How long a connection may stay without a request. A browser that comes back later makes another;
/// as for HTTP/1.1, there are proxies that keep theirs for 60 s, and it is they who should close.
const UNUSED: Duration = Duration::from_secs(75);

/// Bytes beside a request's head that may come before it is whole: frames that mean nothing, and
/// the beginning of a body.
const SLACK: usize = 64 << 10;

type Library = h3::server::Connection<quic::Connection, bytes::Bytes>;

pub(super) struct Connection {
    shared: Arc<Shared>,
    requests: TaskTracker,
    permit: ConnectionPermit,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, permit: ConnectionPermit) -> Self {
        Self { shared, requests: TaskTracker::new(), permit }
    }

    /// Returns when the connection has ended, and with it all that came on it.
    pub(super) async fn run(self, connecting: quinn::Connecting, handshake: Handshake) {
        let options = &self.shared.options;
        let hard = self.shared.shutdown.hard.clone();
        let by = Instant::now() + options.header_timeout;
        let connected = tokio::select! {
            connected = timeout_at(by, connecting) => connected,
            () = hard.cancelled() => return,
        };
        drop(handshake);
        let (result, connection) = match connected {
            Ok(Ok(connection)) => ("ok", Some(connection)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "QUIC handshake");
                ("failed", None)
            }
            Err(_) => ("timeout", None),
        };
        self.shared.metrics.handshakes.with_label_values(&[result]).inc();
        let Some(connection) = connection else { return };
        let accepted = Requests::default();
        let adapter =
            quic::Connection::new(connection.clone(), accepted.clone(), 2 * options.header_bytes + SLACK);
        let mut builder = h3::server::builder();
        // See request/unreadable.rs.
        builder.max_field_section_size(2 * options.header_bytes as u64).send_grease(false);
        let served = async {
            let mut library = builder.build(adapter).await?;
            self.serve(&connection, &mut library, &accepted, by).await?;
            self.requests.close();
            self.requests.wait().await;
            Ok::<_, h3::error::ConnectionError>(library)
        };
        tokio::select! {
            served = served => match served {
                // Its end says the client that all is well.
                Ok(library) => drop(library),
                Err(error) if error.is_h3_no_error() => {}
                Err(error) => tracing::debug!(%error, "connection ended"),
            },
            () = hard.cancelled() => {}
        }
        // Whatever runs on it sees this and ends. A connection that is closed already does not
        // mind.
        connection.close(error_code(Code::H3_NO_ERROR), b"");
        self.requests.close();
        self.requests.wait().await;
    }

    /// Takes requests until there will be no more of them: the client or the shutdown says so, or
    /// none comes.
    async fn serve(
        &self,
        connection: &quinn::Connection,
        library: &mut Library,
        accepted: &Requests,
        first: Instant,
    ) -> Result<(), h3::error::ConnectionError> {
        let mut closing = pin!(self.shared.shutdown.graceful.cancelled());
        let mut unused = pin!(sleep(first.saturating_duration_since(Instant::now())));
        let mut used = false;
        let mut allowed = self.shared.options.h2_streams.min(FIRST_STREAMS);
        loop {
            tokio::select! {
                next = library.accept() => {
                    // None: the client asks for nothing more.
                    let Some(resolver) = next? else { return Ok(()) };
                    let Some(handle) = accepted.latest() else { continue };
                    used = true;
                    // Asked each time: clients move.
                    let peer = connection.remote_address().ip();
                    let info = ConnectionInfo::new(peer, self.permit.overloaded);
                    let request = Request::new(Arc::clone(&self.shared), handle, info, self.requests.clone());
                    self.requests.spawn(request.run(resolver));
                    if self.requests.len() * 2 > allowed as usize && allowed < self.shared.options.h2_streams {
                        allowed = allowed.saturating_mul(2).min(self.shared.options.h2_streams);
                        connection.set_max_concurrent_bi_streams(allowed.into());
                    }
                    if self.permit.overloaded {
                        // The answer says so; the next one should be another node's.
                        return self.part(library, accepted).await;
                    }
                }
                () = closing.as_mut() => return self.part(library, accepted).await,
                () = unused.as_mut() => {
                    if !used && self.requests.is_empty() {
                        return self.part(library, accepted).await;
                    }
                    used = false;
                    unused.as_mut().reset(Instant::now() + UNUSED);
                }
            }
        }
    }

    /// Takes no more requests (GOAWAY) and lets those that run finish.
    async fn part(
        &self,
        library: &mut Library,
        accepted: &Requests,
    ) -> Result<(), h3::error::ConnectionError> {
        accepted.close();
        // 1: the first that is not served is the one after the last that is. With 0 the client
        // would give up the last one itself.
        library.shutdown(1).await?;
        self.requests.close();
        loop {
            tokio::select! {
                () = self.requests.wait() => return Ok(()),
                // Only for what the client still has to say of the connection.
                next = library.accept() => if next?.is_none() {
                    return Ok(());
                },
            }
        }
    }
}
