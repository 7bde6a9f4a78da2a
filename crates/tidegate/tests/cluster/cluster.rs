use serde_json::{Value, json};
use tidegate_testkit::{Gateway, RedisServer, http};

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_tidegate");

/// Nodes on one Redis.
pub(crate) struct Cluster {
    pub(crate) redis: RedisServer,
    pub(crate) nodes: Vec<Gateway>,
}

/// Quick enough for tests; everything else as shipped.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("TIDEGATE_STREAM__RETRY", "50ms"),
    ("TIDEGATE_DRAIN__DELAY", "300ms"),
    ("TIDEGATE_DRAIN__WINDOW", "700ms"),
    ("TIDEGATE_DRAIN__DEADLINE", "5s"),
    ("TIDEGATE_REDIS__PROBE_INTERVAL", "500ms"),
    ("TIDEGATE_REDIS__PROBE_TIMEOUT", "500ms"),
    ("TIDEGATE_REDIS__RESPONSE_TIMEOUT", "1s"),
];

impl Cluster {
    pub(crate) async fn start(nodes: usize) -> Self {
        Self::with(nodes, &[]).await
    }

    pub(crate) async fn with(nodes: usize, more: &[(&str, &str)]) -> Self {
        let redis = RedisServer::start().await;
        let mut env = SETTINGS.to_vec();
        env.extend_from_slice(more);
        let mut started = Vec::new();
        for _ in 0..nodes {
            started.push(Gateway::spawn(BIN, &["--redis", &redis.url()], &env).await);
        }
        Self { redis, nodes: started }
    }

    pub(crate) fn bases(&self) -> Vec<String> {
        self.nodes.iter().map(Gateway::base).collect()
    }
}

/// `0..count` as the data of events.
pub(crate) fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

pub(crate) async fn publish(base: &str, topic: &str, data: impl Into<Value>) {
    let data: Value = data.into();
    let (status, answer) = http::publish(base, &json!({ "topic": topic, "data": data })).await;
    assert_eq!(status, 200, "{answer}");
}
