use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::StreamPermit;
use crate::websocket::Close;

/// What connections and streams are counted in. No label names a user or a topic.
#[derive(Clone)]
pub struct Metrics {
    /// `tidegate_connections{transport}`: streams open now.
    pub connections: IntGaugeVec,
    /// `tidegate_connections_refused_total{reason}`
    pub refused: IntCounterVec,
    /// `tidegate_unread_bodies_total{result}`
    pub unread_bodies: IntCounterVec,
    /// `tidegate_tls_handshakes_total{result}`
    pub handshakes: IntCounterVec,
    /// `tidegate_quic_retries_total`
    pub retries: IntCounter,
    /// `tidegate_ws_closed_total{reason}`
    pub ws_closed: IntCounterVec,
}

impl Metrics {
    /// Makes and registers them. Fails if `registry` has one of the names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters =
            |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        let gauge = Opts::new("tidegate_connections", "Streams open now, by transport");
        let metrics = Self {
            connections: IntGaugeVec::new(gauge, &["transport"])?,
            refused: counters(
                "tidegate_connections_refused_total",
                "Connections and streams turned away",
                "reason",
            )?,
            unread_bodies: counters(
                "tidegate_unread_bodies_total",
                "Requests answered before their body was there, by what became of its rest",
                "result",
            )?,
            handshakes: counters(
                "tidegate_tls_handshakes_total",
                "Connections to listeners with TLS, by what became of the handshake",
                "result",
            )?,
            retries: IntCounter::new(
                "tidegate_quic_retries_total",
                "QUIC clients sent back for a proof of their address",
            )?,
            ws_closed: counters(
                "tidegate_ws_closed_total",
                "WebSockets closed for what their client sent, or for its silence, by the close frame's reason",
                "reason",
            )?,
        };
        metrics.start_at_zero();
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.unread_bodies.clone()))?;
        registry.register(Box::new(metrics.handshakes.clone()))?;
        registry.register(Box::new(metrics.retries.clone()))?;
        registry.register(Box::new(metrics.ws_closed.clone()))?;
        Ok(metrics)
    }

    /// Counts a stream, or a poll, of this transport until the permit is dropped. `admission` is
    /// what else ends with the stream.
    pub fn stream<P: Send + 'static>(&self, transport: &str, admission: Option<Box<P>>) -> StreamPermit {
        StreamPermit::new(self.connections.with_label_values(&[transport]), admission)
    }

    /// Series that are there from the start: an increase from nothing is none to an alert.
    fn start_at_zero(&self) {
        for transport in ["sse-h1", "sse-h2", "sse-h3", "poll", "ws-h1", "ws-h2"] {
            self.connections.with_label_values(&[transport]);
        }
        let turned_away =
            ["overloaded", "address_limit", "connect_rate", "user_limit", "unavailable", "drain"];
        for reason in ["connections", "accept"].into_iter().chain(turned_away) {
            self.refused.with_label_values(&[reason]);
        }
        for result in ["ended", "gone", "bytes", "time"] {
            self.unread_bodies.with_label_values(&[result]);
        }
        for result in ["ok", "failed", "timeout", "cleartext"] {
            self.handshakes.with_label_values(&[result]);
        }
        for close in Close::OWN {
            self.ws_closed.with_label_values(&[close.reason()]);
        }
    }
}
