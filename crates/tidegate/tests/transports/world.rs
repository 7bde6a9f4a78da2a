//! The cluster around a story: one Redis, nodes without TLS and nodes with it.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use rcgen::{CertificateParams, KeyPair};
use reqwest::Method;
use serde_json::{Value, json};
use tidegate_auth::{Algorithm, Claims, SigningKey, mint};
use tidegate_protocol::Pattern;
use tidegate_testkit::http::{self, Answer};
use tidegate_testkit::{Gateway, Publisher, RedisServer, eventually};
use tokio::sync::OnceCell;

use crate::way::Way;

/// The backend's, for publishing and managing.
pub(crate) const KEY: &str = "the-key-of-a-backend";
const SECRET: &str = "a secret that the issuer of tokens shares with the nodes";

/// Quick enough for tests; everything else as shipped. Histories are long, so that they don't decide how fast a story may be told.
const SETTINGS: &[(&str, &str)] = &[
    ("TIDEGATE_AUTH__API_KEYS__0__NAME", "backend"),
    ("TIDEGATE_AUTH__API_KEYS__0__KEY", KEY),
    ("TIDEGATE_AUTH__JWT__KEYS__0__ALG", "HS256"),
    ("TIDEGATE_AUTH__JWT__KEYS__0__SECRET", SECRET),
    ("TIDEGATE_HISTORY__SIZE", "10000"),
    ("TIDEGATE_NAMESPACES__FLEETING__SIZE", "0"),
    ("TIDEGATE_NAMESPACES__SMALL__SIZE", "10"),
    ("TIDEGATE_NAMESPACES__SHORT__TTL", "300ms"),
    ("TIDEGATE_STREAM__RETRY", "50ms"),
    ("TIDEGATE_DRAIN__DELAY", "100ms"),
    ("TIDEGATE_DRAIN__WINDOW", "200ms"),
    ("TIDEGATE_DRAIN__DEADLINE", "10s"),
    ("TIDEGATE_REDIS__PROBE_INTERVAL", "500ms"),
    ("TIDEGATE_REDIS__RESPONSE_TIMEOUT", "1s"),
];

/// Topics spread over four counters, beside the other nodes on the same Redis. What nobody listens to is forgotten soon: some topics of a
/// stream are at hand when it begins, and others have to be read.
const PARTITIONED: &[(&str, &str)] = &[
    ("TIDEGATE_REDIS__PARTITIONS", "4"),
    ("TIDEGATE_REDIS__PREFIX", "four"),
    ("TIDEGATE_REDIS__LINGER", "1ms"),
];

/// For nodes whose Redis goes away: they notice it, and say so, soon.
const IMPATIENT: &[(&str, &str)] =
    &[("TIDEGATE_LIMITS__JOIN_TIMEOUT", "1s"), ("TIDEGATE_REDIS__PROBE_TIMEOUT", "500ms")];

/// Nodes on one Redis.
pub(crate) struct World {
    pub(crate) plain: Vec<Gateway>,
    pub(crate) tls: Vec<Gateway>,
}

impl World {
    /// The cluster of all stories that leave their nodes alone.
    pub(crate) async fn shared() -> &'static World {
        static SHARED: OnceCell<World> = OnceCell::const_new();
        SHARED.get_or_init(|| async { World::start(shared_redis().await, 3, 2, &[]).await }).await
    }

    /// One with four partitions.
    pub(crate) async fn partitioned() -> &'static World {
        static PARTS: OnceCell<World> = OnceCell::const_new();
        PARTS.get_or_init(|| async { World::start(shared_redis().await, 2, 2, PARTITIONED).await }).await
    }

    /// Two nodes of the shared cluster that one story has for itself.
    pub(crate) async fn shared_pair(way: Way) -> World {
        World::pair(way, shared_redis().await).await
    }

    /// Two nodes for a way, on this Redis.
    pub(crate) async fn pair(way: Way, redis: &RedisServer) -> World {
        let (plain, tls) = if way.tls() { (0, 2) } else { (2, 0) };
        World::start(redis, plain, tls, IMPATIENT).await
    }

    /// Where a client of this way can go.
    pub(crate) fn bases(&self, way: Way) -> Vec<String> {
        if way.tls() { bases(&self.tls) } else { bases(&self.plain) }
    }

    /// Where a backend can go: to all of them.
    pub(crate) fn all(&self) -> Vec<String> {
        [bases(&self.plain), bases(&self.tls)].concat()
    }

    async fn start(redis: &RedisServer, plain: usize, tls: usize, more: &[(&str, &str)]) -> World {
        let (plain, tls) = tokio::join!(
            join_all((0..plain).map(|_| node(false, Some(redis), more))),
            join_all((0..tls).map(|_| node(true, Some(redis), more))),
        );
        World { plain, tls }
    }
}

/// A node of the shared cluster that one story has for itself.
pub(crate) async fn node_for(way: Way, more: &[(&str, &str)]) -> Gateway {
    node(way.tls(), Some(shared_redis().await), more).await
}

/// A node without Redis that one story has for itself.
pub(crate) async fn lone_node(way: Way, more: &[(&str, &str)]) -> Gateway {
    node(way.tls(), None, more).await
}

/// Whether the node's metrics have this line.
pub(crate) async fn counts(node: &Gateway, line: &str) -> bool {
    let metrics = http::get(&node.admin_url("/metrics")).await.body;
    metrics.as_str().unwrap().lines().any(|found| found == line)
}

/// Waits until they do.
pub(crate) async fn eventually_counts(node: &Gateway, line: &str) {
    eventually(line, async || counts(node, line).await.then_some(())).await;
}

/// A topic in that namespace that no other story uses.
pub(crate) fn unique(namespace: &str) -> String {
    format!("{namespace}:{}", number())
}

/// A user whom no other story knows.
pub(crate) fn somebody(name: &str) -> String {
    format!("{name}-{}", number())
}

fn number() -> usize {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// A token for so long, with which every topic may be subscribed to.
pub(crate) fn token(user: &str, ttl: Duration) -> String {
    let key = SigningKey::new(Algorithm::Hs256, &SECRET.to_owned().into(), None).unwrap();
    let subscribe = vec![Pattern::parse("**").unwrap()];
    mint(&key, &Claims { subscribe, ..Claims::for_user(user, SystemTime::now() + ttl) }).unwrap()
}

pub(crate) async fn publish(base: &str, topic: &str, data: impl Into<Value>) {
    send(base, &json!({ "topic": topic, "data": data.into() })).await;
}

/// Publishes any request, and gives the receipt.
pub(crate) async fn send(base: &str, body: &Value) -> Value {
    let (status, answer) = http::publish_as(base, KEY, body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The same with every byte of the body as it is.
pub(crate) async fn send_text(base: &str, body: String) -> Value {
    let request = http::client().post(format!("{base}/v1/publish")).bearer_auth(KEY).body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// A backend that goes on publishing; with no pause it is as fast as the nodes.
pub(crate) fn storm<S: AsRef<str>>(bases: Vec<String>, topics: &[S], pause: Duration) -> Publisher {
    Publisher::start_as(KEY, bases, topics, pause)
}

/// A request by the backend, which has to succeed.
pub(crate) async fn manage(method: Method, url: &str) -> Answer {
    let answer = http::send(method, url, Some(KEY), None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// What the nodes with TLS show.
pub(crate) fn certificate() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| {
        // Certificate and key in one file, kept for the next run: two runs at once need not agree on more than who was first.
        if !pem_file().exists() {
            let key = KeyPair::generate().unwrap();
            let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            fs::write(file.path(), certificate.pem() + &key.serialize_pem()).unwrap();
            let _ = file.persist_noclobber(pem_file());
        }
        fs::read_to_string(pem_file()).unwrap()
    })
}

fn pem_file() -> &'static Path {
    Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/transports.pem"))
}

async fn shared_redis() -> &'static RedisServer {
    static REDIS: OnceCell<RedisServer> = OnceCell::const_new();
    REDIS.get_or_init(RedisServer::start).await
}

async fn node(tls: bool, redis: Option<&RedisServer>, more: &[(&str, &str)]) -> Gateway {
    let mut env = [SETTINGS, more].concat();
    if tls {
        certificate();
        let file = pem_file().to_str().unwrap();
        env.extend([("TIDEGATE_TLS__CERTIFICATE", file), ("TIDEGATE_TLS__KEY", file)]);
    }
    let url = redis.map(RedisServer::url);
    let args: Vec<&str> = url.iter().flat_map(|url| ["--redis", url]).collect();
    Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &args, &env).await
}

fn bases(nodes: &[Gateway]) -> Vec<String> {
    nodes.iter().map(Gateway::base).collect()
}
