use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidegate_testkit::{Gateway, RedisServer, http};
use tokio::task::JoinHandle;

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_tidegate");

/// Nodes on one Redis.
pub(crate) struct Cluster {
    pub(crate) redis: RedisServer,
    pub(crate) nodes: Vec<Gateway>,
}

/// Quick enough for tests; everything else as shipped.
const SETTINGS: &[(&str, &str)] = &[
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

    pub(crate) fn urls(&self, path: &str) -> Vec<String> {
        self.nodes.iter().map(|node| node.url(path)).collect()
    }

    pub(crate) fn bases(&self) -> Vec<String> {
        self.nodes.iter().map(Gateway::base).collect()
    }
}

/// A backend that goes on publishing: numbered events, each with a key, tried again on the next node until one has taken it.
pub(crate) struct Publisher {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    task: JoinHandle<usize>,
}

impl Publisher {
    /// Publishes `0, 1, 2, …` to the topics in turn, to any of the nodes.
    pub(crate) fn start(bases: Vec<String>, topics: &'static [&'static str], pause: Duration) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopping, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            let (mut number, mut node) = (0, 0);
            while !stopping.load(Ordering::Relaxed) {
                let event = json!({ "topic": topics[number % topics.len()], "data": number, "key": format!("n{number}") });
                node += 1;
                let url = format!("{}/v1/publish", bases[node % bases.len()]);
                let answer = http::try_send(Method::POST, &url, None, Some(&event)).await;
                match answer {
                    Ok(answer) if answer.status == 200 => {
                        number += 1;
                        counter.store(number, Ordering::Relaxed);
                        tokio::time::sleep(pause).await;
                    }
                    Ok(answer) => {
                        assert!(answer.status.is_server_error(), "{} {}", answer.status, answer.body);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
            number
        });
        Self { stop, sent, task }
    }

    /// Waits until this many were taken.
    pub(crate) async fn reached(&self, count: usize) {
        let wait = async {
            while self.sent.load(Ordering::Relaxed) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the publisher goes on");
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and says how many events there are.
    pub(crate) async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
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
