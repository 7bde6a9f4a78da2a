//! Whether Redis throws away what it should keep: events, and the records by which holes are noticed.

use redis::aio::MultiplexedConnection;
use tidegate_broker::Error;

use super::link::{Link, ask};

/// Of the link's checks, one in so many asks: two commands that cost Redis some 20 µs each.
pub(super) const LOOK_EVERY: u32 = 5;

/// What the link has seen of it.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    /// The policy, where there is a limit on memory and it is not `noeviction`.
    policy: Option<String>,
    /// Keys that Redis had evicted when it was last asked on this connection.
    seen: Option<u64>,
    /// Keys that it has evicted while this node looked.
    evicted: u64,
}

impl Eviction {
    /// What operators should know, and whether it keeps the node from being ready. `strict`: the
    /// policy alone does.
    pub(crate) fn problem(&self, strict: bool) -> Option<(String, bool)> {
        let policy = self.policy.as_ref()?;
        let advice = "set maxmemory-policy to noeviction";
        if self.evicted > 0 {
            let words = format!(
                "Redis has evicted {} keys (maxmemory-policy {policy}): history may have holes; {advice}",
                self.evicted
            );
            return Some((words, true));
        }
        let words = format!(
            "Redis may evict events and records (maxmemory-policy {policy}): {advice} before it does"
        );
        Some((words, strict))
    }

    /// Takes what `INFO memory` and `INFO stats` say. Gives what is new and wrong.
    fn note(&mut self, memory: &str, stats: &str) -> Option<String> {
        let before = (self.policy.is_some(), self.evicted);
        let limited = field(memory, "maxmemory").is_some_and(|bytes| bytes != "0");
        let policy = field(memory, "maxmemory_policy").filter(|policy| limited && *policy != "noeviction");
        self.policy = policy.map(Into::into);
        if let Some(now) = field(stats, "evicted_keys").and_then(|count| count.parse::<u64>().ok()) {
            // Statistics can be reset.
            self.evicted += now.saturating_sub(self.seen.unwrap_or(now));
            self.seen = Some(now);
        }
        let news = self.policy.is_some() && (!before.0 || self.evicted > before.1);
        self.problem(false).filter(|_| news).map(|(words, _)| words)
    }
}

impl Link {
    /// Asks Redis for its policy and its count of evicted keys. `connected`: the connection is new,
    /// perhaps to another server, which has a count of its own. What Redis does not tell is passed
    /// over.
    pub(super) async fn look(
        &self,
        connection: &mut MultiplexedConnection,
        connected: bool,
    ) -> Result<(), Error> {
        let mut sections = [String::new(), String::new()];
        for (section, text) in ["memory", "stats"].into_iter().zip(&mut sections) {
            let answer = ask(connection, redis::cmd("INFO").arg(section)).await?;
            *text = redis::from_redis_value(answer).unwrap_or_default();
        }
        let [memory, stats] = sections;
        let mut eviction = self.shared.eviction.lock();
        if connected {
            eviction.seen = None;
        }
        let news = eviction.note(&memory, &stats);
        let partition = self.shared.partition.to_string();
        let evicting = i64::from(eviction.policy.is_some());
        self.metrics.evicting.with_label_values(&[&partition]).set(evicting);
        let evicted = i64::try_from(eviction.evicted).unwrap_or(i64::MAX);
        self.metrics.evicted_keys.with_label_values(&[&partition]).set(evicted);
        if let Some(words) = news {
            tracing::warn!(redis = %self.connector.address, "{words}");
        }
        Ok(())
    }
}

/// A line of `INFO`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_evicts_is_told_once_and_each_time_that_it_did() {
        let mut eviction = Eviction::default();
        let memory = |policy: &str| format!("# Memory\r\nmaxmemory:100\r\nmaxmemory_policy:{policy}\r\n");
        assert_eq!(eviction.note("", ""), None, "what is not told is not wrong");
        assert_eq!(eviction.note("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", ""), None, "no limit");
        assert_eq!(eviction.note(&memory("noeviction"), "evicted_keys:7\r\n"), None);
        let told = eviction.note(&memory("volatile-lru"), "evicted_keys:7\r\n");
        assert!(told.is_some_and(|words| words.contains("volatile-lru")));
        assert_eq!(eviction.note(&memory("volatile-lru"), "evicted_keys:7\r\n"), None);
        assert!(eviction.problem(false).is_some_and(|(_, stops)| !stops));
        assert!(eviction.problem(true).is_some_and(|(_, stops)| stops));
        let told = eviction.note(&memory("volatile-lru"), "evicted_keys:9\r\n");
        assert!(told.is_some_and(|words| words.contains("evicted 2 keys")));
        assert!(eviction.problem(false).is_some_and(|(_, stops)| stops));
        assert_eq!(eviction.note(&memory("noeviction"), "evicted_keys:0\r\n"), None);
        assert_eq!(eviction.problem(true), None, "mended without a restart of the node");
    }
}
