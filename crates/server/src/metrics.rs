use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// The metrics of the HTTP side, the transport's included. No label names a user or a topic.
#[derive(Clone)]
pub struct Metrics {
    /// Connections and streams.
    pub transport: tidegate_transport::Metrics,
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
    /// `tidegate_ws_messages_total{kind}`
    pub ws_messages: IntCounterVec,
    /// `tidegate_ws_refused_total{reason}`
    pub ws_refused: IntCounterVec,
    pub(crate) registry: Registry,
}

impl Metrics {
    /// Makes and registers them. Fails if `registry` has one of the names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            transport: tidegate_transport::Metrics::new(registry)?,
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
            registry: registry.clone(),
        };
        // Series that are there from the start: an increase from nothing is none to an alert.
        for reason in tidegate_broker::Error::CODES {
            metrics.publish_failures.with_label_values(&[reason]);
        }
        for kind in ["subscribe", "unsubscribe", "publish"] {
            metrics.ws_messages.with_label_values(&[kind]);
        }
        for reason in
            ["invalid-request", "forbidden", "rate-limited", "too-large", "not-stored", "outcome-unknown"]
        {
            metrics.ws_refused.with_label_values(&[reason]);
        }
        registry.register(Box::new(metrics.published.clone()))?;
        registry.register(Box::new(metrics.publish_failures.clone()))?;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.auth_refusals.clone()))?;
        registry.register(Box::new(metrics.rate_limited.clone()))?;
        registry.register(Box::new(metrics.apps_refused.clone()))?;
        registry.register(Box::new(metrics.bodies_refused.clone()))?;
        registry.register(Box::new(metrics.ws_messages.clone()))?;
        registry.register(Box::new(metrics.ws_refused.clone()))?;
        Ok(metrics)
    }
}
