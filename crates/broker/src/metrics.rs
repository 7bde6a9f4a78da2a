use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::Error;

/// What every broker counts.
#[derive(Clone)]
pub struct Metrics {
    /// `tidegate_redis_reconnects_total`
    pub reconnects: IntCounter,
    /// `tidegate_partition_up`, by partition: 1 while its subscription brings messages.
    pub partition_up: IntGaugeVec,
    /// `tidegate_epochs_total`, by cause: epochs that this node has begun. `clean`: Redis restarted or
    /// failed over, nothing was lost; `lossy`: events were lost; `new`: there was nothing before.
    pub epochs: IntCounterVec,
    /// `tidegate_redis_evicting`, by partition: 1 while Redis may evict keys to make room.
    pub evicting: IntGaugeVec,
    /// `tidegate_redis_evicted_keys`, by partition: keys that Redis has evicted while this node looked.
    pub evicted_keys: IntGaugeVec,
    /// `tidegate_probe_up`: 1 while the probes of all partitions come back in time.
    pub probe_up: IntGauge,
    /// `tidegate_probe_seconds`: from sending a probe to hearing it.
    pub probe_seconds: Histogram,
    /// `tidegate_publish_seconds`: until the store has answered.
    pub publish_seconds: Histogram,
    /// `tidegate_memberships_refused_total`: users had as many as they may.
    pub memberships_refused: IntCounter,
}

impl Metrics {
    /// Counts why a membership was not added.
    pub fn refused(&self, error: &Error) {
        if matches!(error, Error::Memberships(_)) {
            self.memberships_refused.inc();
        }
    }

    /// Makes and registers them. Fails if `registry` has one of the names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        // From 100 µs (a script on an idle Redis on the same host takes about that) to 5 s (beyond any response time-out).
        let buckets = vec![
            0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        ];
        let histogram = |name: &str, help: &str| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.clone()))
        };
        let metrics = Self {
            reconnects: IntCounter::new(
                "tidegate_redis_reconnects_total",
                "Subscription connections to Redis made after the first",
            )?,
            partition_up: IntGaugeVec::new(
                Opts::new("tidegate_partition_up", "1 while the partition's subscription brings messages"),
                &["partition"],
            )?,
            epochs: IntCounterVec::new(
                Opts::new("tidegate_epochs_total", "Epochs that this node has begun, by cause"),
                &["cause"],
            )?,
            evicting: IntGaugeVec::new(
                Opts::new("tidegate_redis_evicting", "1 while Redis may evict keys to make room"),
                &["partition"],
            )?,
            evicted_keys: IntGaugeVec::new(
                Opts::new(
                    "tidegate_redis_evicted_keys",
                    "Keys that Redis has evicted while this node looked",
                ),
                &["partition"],
            )?,
            probe_up: IntGauge::new("tidegate_probe_up", "1 while the broker probe comes back in time")?,
            probe_seconds: histogram("tidegate_probe_seconds", "From sending a broker probe to hearing it")?,
            publish_seconds: histogram(
                "tidegate_publish_seconds",
                "From handing a batch to the broker to its answer",
            )?,
            memberships_refused: IntCounter::new(
                "tidegate_memberships_refused_total",
                "Memberships not added because their user has as many as allowed",
            )?,
        };
        registry.register(Box::new(metrics.reconnects.clone()))?;
        registry.register(Box::new(metrics.partition_up.clone()))?;
        registry.register(Box::new(metrics.epochs.clone()))?;
        registry.register(Box::new(metrics.evicting.clone()))?;
        registry.register(Box::new(metrics.evicted_keys.clone()))?;
        // A rate needs a first value.
        for cause in ["clean", "lossy", "new"] {
            metrics.epochs.with_label_values(&[cause]);
        }
        registry.register(Box::new(metrics.probe_up.clone()))?;
        registry.register(Box::new(metrics.probe_seconds.clone()))?;
        registry.register(Box::new(metrics.publish_seconds.clone()))?;
        registry.register(Box::new(metrics.memberships_refused.clone()))?;
        Ok(metrics)
    }
}
