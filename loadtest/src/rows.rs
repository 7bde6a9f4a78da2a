use std::fmt;

/// A line of the table.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    /// As `scripts/bench/measurements.sh` calls it.
    pub(crate) measurement: &'static str,
    /// As the scenario calls it; a figure's part behind a slash.
    pub(crate) figure: &'static str,
    /// None: shown for what it tells.
    pub(crate) reach: Option<Reach>,
}

/// What Tidegate is to reach, as a part of something.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    Most(f64),
    MostOf(f64, &'static str),
    LeastOf(f64, &'static str),
    /// Of its own figure in another measurement.
    MostOfOwn(f64, &'static str),
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Most(limit) => write!(f, "≤ {limit}"),
            Self::MostOf(factor, server) => write!(f, "≤ {factor} × {server}"),
            Self::LeastOf(factor, server) => write!(f, "≥ {factor} × {server}"),
            Self::MostOfOwn(factor, measurement) => write!(f, "≤ {factor} × own {measurement}"),
        }
    }
}

/// 1.0: not more than the peer. A bare loop writes nothing but the bytes, so some more is fair; ten times as many sockets
/// miss caches that have nothing to do with looking a topic up.
pub(crate) const ROWS: &[Row] = &[
    row("burst, 50 ms each way, WebSocket: a round's p50 ms", "burst", "ws/round/p50", None),
    row("the same: p99 ms", "burst", "ws/round/p99", None),
    row("SSE: a round's p50 ms", "burst", "sse/round/p50", None),
    row("the same: p99 ms", "burst", "sse/round/p99", None),
    row("long polling: a round's p50 ms", "burst", "poll/round/p50", None),
    row("the same: p99 ms", "burst", "poll/round/p99", None),
    row("the same: rounds failed", "burst", "poll/failed", Some(Reach::Most(0.0))),
    row("ramp: clients reached", "ramp", "reached", None),
    row("soak: connections ended", "soak", "disconnects", Some(Reach::Most(0.0))),
    row("soak: memory growth, MB", "soak", "memory_growth_mb", Some(Reach::Most(5.0))),
    row("all clients back at once: ms to the last event", "reconnect", "recovery_ms", None),
    // A read for each client would be ten thousand.
    row("the same: Redis commands", "reconnect", "redis_commands", Some(Reach::Most(500.0))),
    row("the same: peak memory, MB", "reconnect", "memory_peak_mb", None),
    row("idle stream, 10,000: kB", "idle", "kb_per_connection", Some(Reach::Most(3.0))),
    row("the same over TLS", "idle-tls", "kb_per_connection", None),
    row("waiting poll, 10,000: kB", "idle-poll", "kb_per_connection", None),
    row("WebSocket, 10,000: kB", "idle-ws", "kb_per_connection", None),
    row("the same over TLS", "idle-tls-ws", "kb_per_connection", None),
    row("HTTP/2 connection with a stream, 5,000: kB", "idle-h2", "kb_per_connection", None),
    row("the same over TLS", "idle-tls-h2", "kb_per_connection", None),
    row("HTTP/2, 500 connections of 100 streams: kB a stream", "idle-h2-100", "kb_per_stream", None),
    row("the same over TLS", "idle-tls-h2-100", "kb_per_stream", None),
    row("streams opened a second", "connect", "opened_per_second", Some(Reach::LeastOf(1.0, "nchan"))),
    row("the same: CPU µs a stream", "connect", "server_cpu_us_per_stream", None),
    row(
        "1,000 streams, 50/s: CPU µs a delivery",
        "fanout-1k",
        "server_cpu_us_per_delivery",
        Some(Reach::MostOf(1.0, "nchan")),
    ),
    row("the same", "fanout-1k", "server_cpu_us_per_delivery", Some(Reach::MostOf(1.3, "loop"))),
    row("the same: p50 ms", "fanout-1k", "p50", None),
    row("the same: p99 ms", "fanout-1k", "p99", None),
    row("the same over TLS: CPU µs a delivery", "fanout-1k-tls", "server_cpu_us_per_delivery", None),
    row("the same: p99 ms", "fanout-1k-tls", "p99", None),
    row("10,000 streams, 5/s: p99 ms", "fanout-10k", "p99", Some(Reach::MostOf(1.0, "nchan"))),
    row("the same: p50 ms", "fanout-10k", "p50", None),
    row("the same: CPU µs a delivery", "fanout-10k", "server_cpu_us_per_delivery", None),
    row(
        "flood, 1 publisher: deliveries/s",
        "flood-1",
        "deliveries_per_second",
        Some(Reach::LeastOf(30.0, "nchan")),
    ),
    row(
        "flood, 4 publishers: deliveries/s",
        "flood-4",
        "deliveries_per_second",
        Some(Reach::LeastOf(30.0, "nchan")),
    ),
    row(
        "flood, 32 publishers: deliveries/s",
        "flood-32",
        "deliveries_per_second",
        Some(Reach::LeastOf(30.0, "nchan")),
    ),
    row("the same: CPU µs a delivery", "flood-32", "server_cpu_us_per_delivery", None),
    row("the same: p99 ms", "flood-32", "p99", Some(Reach::MostOf(1.0, "nchan"))),
    row(
        "1,000 users: events/s, published and received",
        "users-1k",
        "deliveries_per_second",
        Some(Reach::LeastOf(1.0, "nchan")),
    ),
    row(
        "10,000 users: events/s, published and received",
        "users-10k",
        "deliveries_per_second",
        Some(Reach::LeastOf(1.0, "nchan")),
    ),
    row("the same: p99 ms", "users-10k", "p99", None),
    row("1,000 users: CPU µs an event", "users-1k", "server_cpu_us_per_event", None),
    row(
        "10,000 users: CPU µs an event",
        "users-10k",
        "server_cpu_us_per_event",
        Some(Reach::MostOfOwn(1.25, "users-1k")),
    ),
    row(
        "Redis, 2 nodes, 1,000 streams, 50/s: p50 ms",
        "redis-fanout",
        "p50",
        Some(Reach::MostOf(1.0, "nchan")),
    ),
    row("the same: p99 ms", "redis-fanout", "p99", Some(Reach::MostOf(1.0, "nchan"))),
    row("the same: CPU µs a delivery", "redis-fanout", "server_cpu_us_per_delivery", None),
    row(
        "Redis, single POSTs: stored publishes/s",
        "redis-publish",
        "published_per_second",
        Some(Reach::LeastOf(1.5, "nchan")),
    ),
    row("the same: CPU µs an event", "redis-publish", "server_cpu_us_per_event", None),
    row(
        "Redis, NDJSON: stored publishes/s",
        "redis-ndjson",
        "published_per_second",
        Some(Reach::LeastOf(0.5, "redis-benchmark")),
    ),
];

const fn row(
    title: &'static str,
    measurement: &'static str,
    figure: &'static str,
    reach: Option<Reach>,
) -> Row {
    Row { title, measurement, figure, reach }
}
