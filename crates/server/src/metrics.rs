use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// What the HTTP side counts. No label names a user or a topic.
#[derive(Clone)]
pub struct Metrics {
    /// `tidegate_connections{transport}`: streams open now.
    pub connections: IntGaugeVec,
    /// `tidegate_connections_refused_total{reason}`
    pub refused: IntCounterVec,
    /// `tidegate_events_published_total`
    pub published: IntCounter,
    /// `tidegate_publish_failures_total{reason}`
    pub publish_failures: IntCounterVec,
    /// `tidegate_http_requests_total{route,status}`
    pub requests: IntCounterVec,
    /// `tidegate_auth_refusals_total{reason}`
    pub auth_refusals: IntCounterVec,
    /// `tidegate_rate_limited_total`
    pub rate_limited: IntCounter,
    /// `tidegate_apps_refused_total{limit}`
    pub apps_refused: IntCounterVec,
    /// `tidegate_bodies_refused_total`
    pub bodies_refused: IntCounter,
    /// `tidegate_unread_bodies_total{result}`
    pub unread_bodies: IntCounterVec,
    /// `tidegate_tls_handshakes_total{result}`
    pub handshakes: IntCounterVec,
    /// `tidegate_quic_retries_total`
    pub retries: IntCounter,
    /// `tidegate_ws_messages_total{kind}`
    pub ws_messages: IntCounterVec,
    /// `tidegate_ws_refused_total{reason}`
    pub ws_refused: IntCounterVec,
    /// `tidegate_ws_closed_total{reason}`
    pub ws_closed: IntCounterVec,
    pub(crate) registry: Registry,
}

impl Metrics {
    /// Makes and registers them. Fails if `registry` has one of the names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let gauge = Opts::new("tidegate_connections", "Streams open now, by transport");
        let metrics = Self {
            connections: IntGaugeVec::new(gauge, &["transport"])?,
            refused: counters(
                "tidegate_connections_refused_total",
                "Connections and streams turned away",
                &["reason"],
            )?,
            published: IntCounter::new(
                "tidegate_events_published_total",
                "Events taken from publishers and stored",
            )?,
            publish_failures: counters(
                "tidegate_publish_failures_total",
                "Events not taken, by reason",
                &["reason"],
            )?,
            requests: counters("tidegate_http_requests_total", "Requests answered", &["route", "status"])?,
            auth_refusals: counters(
                "tidegate_auth_refusals_total",
                "Credentials refused, by reason",
                &["reason"],
            )?,
            rate_limited: IntCounter::new(
                "tidegate_rate_limited_total",
                "Publish requests answered with 429",
            )?,
            apps_refused: counters(
                "tidegate_apps_refused_total",
                "Requests that the chat or the seats refused, by the limit that was reached",
                &["limit"],
            )?,
            bodies_refused: IntCounter::new(
                "tidegate_bodies_refused_total",
                "Requests whose body had no room in limits.body_memory",
            )?,
            unread_bodies: counters(
                "tidegate_unread_bodies_total",
                "Requests answered before their body was there, by what became of its rest",
                &["result"],
            )?,
            handshakes: counters(
                "tidegate_tls_handshakes_total",
                "Connections to listeners with TLS, by what became of the handshake",
                &["result"],
            )?,
            retries: IntCounter::new(
                "tidegate_quic_retries_total",
                "QUIC clients sent back for a proof of their address",
            )?,
            ws_messages: counters(
                "tidegate_ws_messages_total",
                "Messages of WebSocket clients that could be read, by what they ask for",
                &["kind"],
            )?,
            ws_refused: counters(
                "tidegate_ws_refused_total",
                "Messages of WebSocket clients answered with an error, by the problem's word",
                &["reason"],
            )?,
            ws_closed: counters(
                "tidegate_ws_closed_total",
                "WebSockets closed for what their client sent, or for its silence, by the close frame's reason",
                &["reason"],
            )?,
            registry: registry.clone(),
        };
        // Series that are there from the start: an increase from nothing is none to an alert.
        for transport in ["sse-h1", "sse-h2", "sse-h3", "poll", "ws-h1", "ws-h2"] {
            metrics.connections.with_label_values(&[transport]);
        }
        let turned_away =
            ["overloaded", "address_limit", "connect_rate", "user_limit", "unavailable", "drain"];
        for reason in ["connections", "accept"].into_iter().chain(turned_away) {
            metrics.refused.with_label_values(&[reason]);
        }
        for reason in ["unavailable", "busy", "protocol"] {
            metrics.publish_failures.with_label_values(&[reason]);
        }
        for result in ["ok", "failed", "timeout", "cleartext"] {
            metrics.handshakes.with_label_values(&[result]);
        }
        for result in ["ended", "gone", "bytes", "time"] {
            metrics.unread_bodies.with_label_values(&[result]);
        }
        for kind in ["subscribe", "unsubscribe", "publish"] {
            metrics.ws_messages.with_label_values(&[kind]);
        }
        for reason in ["invalid-request", "forbidden", "rate-limited", "too-large", "unavailable"] {
            metrics.ws_refused.with_label_values(&[reason]);
        }
        for close in crate::ws::Close::OWN {
            metrics.ws_closed.with_label_values(&[close.reason()]);
        }
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.published.clone()))?;
        registry.register(Box::new(metrics.publish_failures.clone()))?;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.auth_refusals.clone()))?;
        registry.register(Box::new(metrics.rate_limited.clone()))?;
        registry.register(Box::new(metrics.apps_refused.clone()))?;
        registry.register(Box::new(metrics.bodies_refused.clone()))?;
        registry.register(Box::new(metrics.unread_bodies.clone()))?;
        registry.register(Box::new(metrics.handshakes.clone()))?;
        registry.register(Box::new(metrics.retries.clone()))?;
        registry.register(Box::new(metrics.ws_messages.clone()))?;
        registry.register(Box::new(metrics.ws_refused.clone()))?;
        registry.register(Box::new(metrics.ws_closed.clone()))?;
        Ok(metrics)
    }
}
