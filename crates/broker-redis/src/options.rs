use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use tidegate_broker::MEMBERSHIPS;
use tidegate_protocol::{MAX_PARTITIONS, Topic};

/// Settings. The defaults fit a Redis in the same network.
#[derive(Clone)]
pub struct Options {
    /// `redis://[user:password@]host:port/[db]`, or `rediss://…` for TLS (a rustls crypto provider must be installed).
    pub url: String,
    /// A PEM file with the certificates that may have signed that of a `rediss://` Redis. `None`: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Before every key and channel. Deployments that share a Redis differ in it.
    pub prefix: String,
    /// 1 to 8. All nodes of a deployment must agree, and for as long as its data lives.
    pub partitions: u8,
    /// Connections for reading histories and memberships.
    pub pool_size: usize,
    /// Connections for publishing; a topic always uses the same one.
    pub publish_connections: usize,
    /// Until a connection is made and has logged in.
    pub connect_timeout: Duration,
    /// Until a command is answered.
    pub response_timeout: Duration,
    /// From one probe to the next.
    pub probe_interval: Duration,
    /// Until a probe must have been heard.
    pub probe_timeout: Duration,
    /// Not ready while Redis may evict keys.
    pub require_noeviction: bool,
    /// Bytes of deliveries that may wait for dispatch, and again as many that may wait for a repair.
    pub queue_bytes: usize,
    /// Topics that one user may be a member of.
    pub memberships: usize,
    /// The node's name, for its probe's topic.
    pub node: String,
    /// Instead of TCP to the URL's address.
    #[cfg(feature = "simulation")]
    pub dialer: Option<std::sync::Arc<dyn crate::Dialer>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379/".into(),
            ca_file: None,
            prefix: "tg".into(),
            partitions: 1,
            pool_size: 8,
            publish_connections: 2,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            probe_interval: Duration::from_secs(2),
            probe_timeout: Duration::from_secs(2),
            require_noeviction: false,
            queue_bytes: 64 << 20,
            memberships: MEMBERSHIPS,
            node: "node".into(),
            #[cfg(feature = "simulation")]
            dialer: None,
        }
    }
}

/// By hand: the URL may hold a password.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Settings that can't work. A Redis that is away is no such thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The URL.
    #[error("the Redis URL is not usable ({0}); it should look like redis://:password@host:6379/0")]
    Url(String),
    /// Another setting.
    #[error("{option} {rule}")]
    Option {
        /// Which.
        option: &'static str,
        /// What it must be.
        rule: String,
    },
}

impl Options {
    /// Checks everything and takes the URL apart. No error repeats the URL: it may hold a password.
    pub(crate) fn check(&self) -> Result<ConnectionInfo, StartError> {
        let rule = |option, rule: &str| Err(StartError::Option { option, rule: rule.into() });
        if self.partitions == 0 || self.partitions > MAX_PARTITIONS {
            return rule("partitions", "must be 1 to 8");
        }
        // Braces would move the hash tag that keeps a partition's keys in one Redis Cluster slot.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(plain) {
            return rule("prefix", "must be 1 to 64 letters, digits or any of - _ . : /");
        }
        if self.pool_size == 0 || self.publish_connections == 0 {
            return rule("pool_size and publish_connections", "must be at least 1");
        }
        let zero = |time: &Duration| time.is_zero();
        let times = [self.connect_timeout, self.response_timeout, self.probe_interval, self.probe_timeout];
        if times.iter().any(zero) {
            return rule(
                "connect_timeout, response_timeout, probe_interval and probe_timeout",
                "must not be 0",
            );
        }
        if self.node.len() > 128 || Topic::parse(&format!("$probe:{}", self.node)).is_err() {
            return rule("node", "must be at most 128 bytes without white space or control characters");
        }
        // RedisError's detail may quote the URL; its description does not.
        let info = self.url.as_str().into_connection_info();
        let info = info.map_err(|error| StartError::Url(format!("{:?}", error.kind())))?;
        if self.ca_file.is_some() && !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return rule("ca_file", "is only for a rediss:// URL");
        }
        Ok(info)
    }

    /// Reads the certificates to trust.
    pub(crate) fn trusted(&self) -> Result<Option<Vec<u8>>, StartError> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        let refused = |rule| StartError::Option { option: "ca_file", rule };
        let pem = std::fs::read(path)
            .map_err(|error| refused(format!("can't be read ({}: {error})", path.display())))?;
        // One without certificates would be accepted, and nothing trusted.
        match String::from_utf8_lossy(&pem).contains("BEGIN CERTIFICATE") {
            // With a byte order mark in front the parser would pass over the first one.
            true => Ok(Some(pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&pem).to_vec())),
            false => Err(refused(format!("must hold certificates in PEM form ({})", path.display()))),
        }
    }
}
