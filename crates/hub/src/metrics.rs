use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tidegate_broker::ResetReason;

use crate::close_reason::CloseReason;

/// What the hub counts. No label names a user or a topic.
#[derive(Clone)]
pub struct Metrics {
    /// `tidegate_joins_total`
    pub joins: IntCounter,
    /// `tidegate_leaves_total{reason}`
    pub leaves: IntCounterVec,
    /// `tidegate_events_delivered_total`: events handed to a transport, once for each connection.
    pub delivered: IntCounter,
    /// `tidegate_events_replayed_total`: of these, those that came from history.
    pub replayed: IntCounter,
    /// `tidegate_events_dropped_total{reason}`: events in outboxes that were thrown away with their
    /// connection.
    pub dropped: IntCounterVec,
    /// `tidegate_resets_total{reason}`
    pub resets: IntCounterVec,
    /// `tidegate_delivery_seconds`: from the publishing node taking an event to this node handing
    /// it to a socket.
    pub delivery_seconds: Histogram,
    /// `tidegate_outbox_highwater_bytes`: the most that ever waited for one connection.
    pub highwater: IntGauge,
    /// `tidegate_topics_subscribed`
    pub topics: IntGauge,
    /// `tidegate_users_connected`
    pub users: IntGauge,
    /// `tidegate_history_reads_total{source}`: `ring`, `broker`, or `shared` with another's
    /// read.
    pub history_reads: IntCounterVec,
    /// `tidegate_history_bytes`: of [`history_memory`](crate::Options::history_memory), what is
    /// taken.
    pub history_bytes: IntGauge,
    /// `tidegate_history_waits_total`: joins and requests that had to wait for some.
    pub history_waits: IntCounter,
}

impl Metrics {
    /// Counts events given to a socket. `at`: when the oldest live one was published, in
    /// milliseconds since 1970; 0: none is live.
    pub fn sent(&self, events: u32, at: u64) {
        if events == 0 {
            return;
        }
        self.delivered.inc_by(u64::from(events));
        if at > 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Another node's clock may be ahead of ours: never negative.
            self.delivery_seconds.observe(now.saturating_sub(Duration::from_millis(at)).as_secs_f64());
        }
    }

    /// Makes and registers them. Fails if `registry` has one of the names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        // From half a millisecond (in process) to 10 s (a stalled store, healed).
        let buckets =
            vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let counter = |name: &str, help: &str| IntCounter::new(name, help);
        let gauge = |name: &str, help: &str| IntGauge::new(name, help);
        let counters =
            |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        let metrics = Self {
            joins: counter("tidegate_joins_total", "Streams opened")?,
            leaves: counters("tidegate_leaves_total", "Streams ended, by reason", "reason")?,
            delivered: counter(
                "tidegate_events_delivered_total",
                "Events handed to transports, per connection",
            )?,
            replayed: counter(
                "tidegate_events_replayed_total",
                "Events queued from history, per connection",
            )?,
            dropped: counters(
                "tidegate_events_dropped_total",
                "Events thrown away with their connection",
                "reason",
            )?,
            resets: counters("tidegate_resets_total", "Resets told to streams, by reason", "reason")?,
            delivery_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "tidegate_delivery_seconds",
                    "From taking an event to handing it to a socket",
                )
                .buckets(buckets),
            )?,
            highwater: gauge(
                "tidegate_outbox_highwater_bytes",
                "The most that ever waited for one connection",
            )?,
            topics: gauge("tidegate_topics_subscribed", "Topics with a channel on this node")?,
            users: gauge("tidegate_users_connected", "Users with a stream on this node")?,
            history_reads: counters(
                "tidegate_history_reads_total",
                "Reads of history at joins, by source",
                "source",
            )?,
            history_bytes: gauge(
                "tidegate_history_bytes",
                "Memory taken for stored events on their way to streams and answers",
            )?,
            history_waits: counter(
                "tidegate_history_waits_total",
                "Joins and requests that waited for memory for stored events",
            )?,
        };
        // Series that are there from the start: an increase from nothing is none to an alert.
        for reason in CloseReason::ALL {
            metrics.leaves.with_label_values(&[reason.as_str()]);
            metrics.dropped.with_label_values(&[reason.as_str()]);
        }
        for reason in ResetReason::ALL {
            metrics.resets.with_label_values(&[reason.as_str()]);
        }
        for source in ["ring", "broker", "shared"] {
            metrics.history_reads.with_label_values(&[source]);
        }
        registry.register(Box::new(metrics.joins.clone()))?;
        registry.register(Box::new(metrics.leaves.clone()))?;
        registry.register(Box::new(metrics.delivered.clone()))?;
        registry.register(Box::new(metrics.replayed.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.resets.clone()))?;
        registry.register(Box::new(metrics.delivery_seconds.clone()))?;
        registry.register(Box::new(metrics.highwater.clone()))?;
        registry.register(Box::new(metrics.topics.clone()))?;
        registry.register(Box::new(metrics.users.clone()))?;
        registry.register(Box::new(metrics.history_reads.clone()))?;
        registry.register(Box::new(metrics.history_bytes.clone()))?;
        registry.register(Box::new(metrics.history_waits.clone()))?;
        Ok(metrics)
    }
}
