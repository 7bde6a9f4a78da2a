//! One primary and its replicas, and who follows whom.

use redis::Value;

use crate::redis_server::{Options, RedisServer};
use crate::wait::eventually;

/// Longer than any wait of a test: `WAIT` gives up by itself.
const WAIT_MS: &str = "8000";

impl RedisServer {
    /// A primary with that many replicas. Each of them has everything, and has said so.
    pub async fn replicated<const REPLICAS: usize>() -> (RedisServer, [RedisServer; REPLICAS]) {
        let options = || Options {
            // A replica gets its copy at once.
            args: ["--repl-diskless-sync-delay", "0"].map(Into::into).to_vec(),
            ..Options::default()
        };
        let primary = RedisServer::start_with(options()).await;
        let mut replicas = Vec::with_capacity(REPLICAS);
        for _ in 0..REPLICAS {
            let replica = RedisServer::start_with(options()).await;
            replica.follow(&primary).await;
            replicas.push(replica);
        }
        primary.synced(REPLICAS).await;
        (primary, replicas.try_into().expect("as many as were started"))
    }

    /// Becomes a replica, and returns once it has a copy. It takes some time until the primary
    /// sends it what is new: see [`synced`](Self::synced).
    pub async fn follow(&self, primary: &RedisServer) {
        self.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
        self.until_info("master_link_status:up").await;
    }

    /// Waits until that many replicas have all that this server has. A replica is sent nothing new
    /// until it has acknowledged its copy, which takes a second.
    pub async fn synced(&self, replicas: usize) {
        // WAIT is about what was written on its own connection.
        let mut both = redis::pipe();
        both.cmd("SET").arg("testkit:synced").arg(1).ignore();
        both.cmd("WAIT").arg(replicas).arg(WAIT_MS);
        let (count,): (usize,) = both.query_async(&mut self.connection().await.unwrap()).await.unwrap();
        assert!(count >= replicas, "{count} of {replicas} replicas have acknowledged");
    }

    /// A replica becomes a primary: its reign begins.
    pub async fn promote(&self) {
        self.cli(&["REPLICAOF", "NO", "ONE"]).await;
        self.until_info("role:master").await;
    }

    /// Changes roles with a replica that has everything. Connections to either stay open.
    pub async fn fail_over_to(&self, replica: &RedisServer) {
        self.cli(&["FAILOVER", "TO", "127.0.0.1", &replica.port().to_string()]).await;
        replica.until_info("role:master").await;
        self.until_info("master_link_status:up").await;
        replica.synced(1).await;
    }

    /// Waits until `INFO replication` has a line.
    pub async fn until_info(&self, line: &str) {
        eventually(line, async || self.info("replication").await.lines().any(|l| l == line).then_some(()))
            .await;
    }

    /// A section of `INFO`.
    pub async fn info(&self, section: &str) -> String {
        match self.cli(&["INFO", section]).await {
            Value::BulkString(text) => String::from_utf8(text).unwrap(),
            Value::VerbatimString { text, .. } => text,
            other => panic!("INFO {section}: {other:?}"),
        }
    }
}
