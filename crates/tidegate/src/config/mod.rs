//! The configuration: typed, read from three places, and wrong only all at once.
//!
//! File (TOML), environment (`TIDEGATE_STREAM__HEARTBEAT`), flags: later wins. Everything that is wrong is found in one
//! go and said with the place where it was written. `deploy/tidegate.toml` shows every setting with its default.

mod access;
mod apps;
mod broker;
mod check;
mod edge;
pub(crate) mod key_file;
mod print;
mod problems;
#[cfg(test)]
mod sample;
mod service_links;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_path_to_error::Segment;

pub(crate) use access::{ApiKey, Auth, AuthMode, JwtKey};
pub(crate) use apps::{Apps, Chat, Seats};
pub(crate) use broker::{Allowed, History, Idempotency, Namespace, Redis};
pub(crate) use edge::{Cors, Drain, Http3, Limits, Log, LogFormat, Stream, Tls};
pub(crate) use problems::{Origins, Problem, Problems};
pub(crate) use sources::Sources;
pub(crate) use values::{HeartbeatStyle, Size};

/// The documented sample: every setting, commented out, with its default.
pub(crate) const SAMPLE: &str = include_str!("../../../../deploy/tidegate.toml");

/// Stands for any namespace in [`shape`].
const ANY: &str = "*";

/// Every setting of a gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where clients and publishers come in. Loopback: a first start should not open anything to the network.
    pub(crate) listen: SocketAddr,
    /// Metrics and health, for operators. Nobody is asked for a key there.
    pub(crate) admin_listen: SocketAddr,
    /// This node's name in logs and `tidegate:ready`. Empty: a random one.
    pub(crate) node: String,
    /// The main listener's TLS.
    pub(crate) tls: Tls,
    /// HTTP/3 on the main listener's port.
    pub(crate) http3: Http3,
    /// What the process says about itself.
    pub(crate) log: Log,
    /// The Redis that joins the nodes of a cluster.
    pub(crate) redis: Redis,
    /// Credentials.
    pub(crate) auth: Auth,
    /// Browsers of other origins.
    pub(crate) cors: Cors,
    /// What a topic keeps.
    pub(crate) history: History,
    /// Rules by first segment of the topic.
    pub(crate) namespaces: BTreeMap<String, Namespace>,
    /// One client's stream.
    pub(crate) stream: Stream,
    /// What callers may ask for.
    pub(crate) limits: Limits,
    /// The way out.
    pub(crate) drain: Drain,
    /// `Idempotency-Key`.
    pub(crate) idempotency: Idempotency,
    /// The built-in applications.
    pub(crate) apps: Apps,
    /// The chat.
    pub(crate) chat: Chat,
    /// The seat reservation example.
    pub(crate) seats: Seats,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            admin_listen: (Ipv4Addr::LOCALHOST, 8081).into(),
            node: String::new(),
            tls: Tls::default(),
            http3: Http3::default(),
            log: Log::default(),
            redis: Redis::default(),
            auth: Auth::default(),
            cors: Cors::default(),
            history: History::default(),
            namespaces: BTreeMap::new(),
            stream: Stream::default(),
            limits: Limits::default(),
            drain: Drain::default(),
            idempotency: Idempotency::default(),
            apps: Apps::default(),
            chat: Chat::default(),
            seats: Seats::default(),
        }
    }
}

/// A configuration that can be used, and where its values were written.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) origins: Origins,
    /// Variables that begin like settings and are known to be none.
    passed_over: Vec<String>,
}

impl Loaded {
    /// What is to be said although the configuration can be used.
    pub(crate) fn warning(&self) -> Option<String> {
        (!self.passed_over.is_empty()).then(|| {
            format!(
                "ignored environment variables that are not settings: {}. Kubernetes sets them for each \
                 Service whose name begins with tidegate; enableServiceLinks: false in the pod's spec \
                 leaves them out",
                self.passed_over.join(", ")
            )
        })
    }
}

/// Reads, types and checks a configuration.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let merged = sources::Merged::read(sources, &shape(), &mut problems);
    let config = typed(Value::Object(merged.tree), &merged.origins, &mut problems);
    check::check(&config, &merged.origins, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Loaded { config, origins: merged.origins, passed_over: merged.passed_over })
}

/// The settings as a tree, with one example of each kind of list entry and of a namespace: it knows every path, and of what
/// type the value at each is.
fn shape() -> Value {
    let mut config = Config::default();
    let namespace =
        Namespace { size: Some(config.history.size), ttl: Some(config.history.ttl), ..Namespace::default() };
    config.namespaces.insert(ANY.into(), namespace);
    config.auth.jwt.keys.push(JwtKey::default());
    config.auth.api_keys.push(ApiKey::default());
    serde_json::to_value(&config).unwrap_or_default()
}

/// Types the tree. A value that doesn't fit is a problem; it is taken out, and the rest is tried again, so that every one is found.
fn typed(mut tree: Value, origins: &Origins, problems: &mut Problems) -> Config {
    loop {
        let error = match serde_path_to_error::deserialize::<_, Config>(&tree) {
            Ok(config) => return config,
            Err(error) => error,
        };
        let path = error.path().to_string();
        let mut problem = Problem::new(path.clone(), complaint(&path, &error.inner().to_string()));
        if error.inner().to_string().starts_with("unknown field") {
            problem = problem.advise("`tidegate config default` lists all settings");
        }
        problems.push(problem.at(origins.get(&path).cloned()));
        if !take_out(&mut tree, &error.path().iter().collect::<Vec<_>>()) {
            return Config::default();
        }
    }
}

/// A complaint in the words of the file. A secret's own value must not be quoted.
fn complaint(path: &str, message: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    if matches!(name, "secret" | "secret_base64" | "key" | "url" | "jwks_url")
        && !message.starts_with("unknown")
    {
        return "must be a text in quotes".into();
    }
    match message {
        "invalid socket address syntax" => {
            "not an address and port, such as 127.0.0.1:8080 or [::1]:8080".into()
        }
        message => unfit(message)
            .unwrap_or_else(|| message.to_owned())
            .replace("unknown field", "there is no setting")
            .replace(", expected one of", "; there are")
            .replace("expected usize", "expected a number")
            .replace("expected u32", "expected a number from 0 to 4294967295")
            .replace("expected u8", "expected a number"),
    }
}

/// A size or duration that is none, without the words of those who read them.
fn unfit(message: &str) -> Option<String> {
    let (given, expected) = message.rsplit_once(", expected ")?;
    let wanted = match expected {
        "parsable string" | "an integer or string" | "integer overflow" => "a size such as 64KiB",
        "a duration" => "a duration such as 15s",
        _ => return None,
    };
    let given = ["invalid value: ", "invalid type: "].iter().find_map(|words| given.strip_prefix(words))?;
    Some(format!("{} is not {wanted}", given.strip_prefix("string ").unwrap_or(given)))
}

/// Removes what `path` leads to: the named value, or the whole list when one of its entries is wrong in itself.
fn take_out(tree: &mut Value, path: &[&Segment]) -> bool {
    let Some(last) = path.iter().rposition(|segment| matches!(segment, Segment::Map { .. })) else {
        return false;
    };
    let mut place = tree;
    for segment in &path[..last] {
        let next = match segment {
            Segment::Map { key } => place.get_mut(key),
            Segment::Seq { index } => place.get_mut(index),
            _ => None,
        };
        match next {
            Some(next) => place = next,
            None => return false,
        }
    }
    match (path[last], place) {
        (Segment::Map { key }, Value::Object(map)) => map.remove(key).is_some(),
        _ => false,
    }
}
