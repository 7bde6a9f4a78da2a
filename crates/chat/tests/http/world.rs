use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus::Registry;
use reqwest::Method;
use serde_json::{Value, json};
use tidegate_auth::{ApiKey, Authenticator, Claims, JwtKey, JwtOptions, KeyMaterial, Mode, SigningKey};
use tidegate_broker::{Broker, Deliveries, Local, LocalOptions};
use tidegate_broker_redis::RedisBroker;
use tidegate_chat::store::{Memory, Redis, Store};
use tidegate_hub::Hub;
use tidegate_server::{App, Limits, Metrics, Options, public};
use tidegate_testkit::http::Answer;
use tidegate_testkit::sse::Builder;
use tidegate_testkit::{RedisServer, Sse, eventually};
use tidegate_transport::{Shutdown, serve};
use tokio::net::TcpListener;

pub(crate) const SECRET: &str = "a secret of at least sixty-four bytes, so that every HMAC length is content";
pub(crate) const API_KEY: &str = "an-api-key-of-a-backend";

/// Two nodes of one cluster.
pub(crate) struct World {
    pub(crate) a: Node,
    pub(crate) b: Node,
    pub(crate) redis: RedisServer,
}

pub(crate) struct Node {
    addr: SocketAddr,
    hub: Hub,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) metrics: Metrics,
    shutdown: Shutdown,
    keyed: bool,
}

/// Somebody at a node.
pub(crate) struct Person<'a> {
    node: &'a Node,
    pub(crate) user: &'a str,
    token: Option<String>,
}

impl World {
    pub(crate) async fn open() -> Self {
        Self::start(tidegate_chat::Options::default(), false).await
    }

    pub(crate) async fn start(options: tidegate_chat::Options, keyed: bool) -> Self {
        let redis = RedisServer::start().await;
        let (a, b) =
            (Node::start(&redis, options.clone(), keyed).await, Node::start(&redis, options, keyed).await);
        Self { a, b, redis }
    }

    /// Alice at one node, and Bob at the other.
    pub(crate) fn people(&self) -> (Person<'_>, Person<'_>) {
        (self.a.person("alice"), self.b.person("bob"))
    }
}

impl Node {
    /// A node with nothing but itself.
    pub(crate) async fn alone() -> Self {
        Self::alone_with(tidegate_chat::Options::default(), Limits::default()).await
    }

    pub(crate) async fn alone_with(chat: tidegate_chat::Options, limits: Limits) -> Self {
        let registry = Registry::new();
        let metrics = tidegate_broker::Metrics::new(&registry).unwrap();
        let (broker, deliveries) = Local::new(LocalOptions::default(), metrics);
        let store = Arc::new(Memory::new(&chat));
        Self::serve(&registry, (broker, deliveries), store, chat, limits, false).await
    }

    async fn start(redis: &RedisServer, chat: tidegate_chat::Options, keyed: bool) -> Self {
        let registry = Registry::new();
        let options =
            tidegate_broker_redis::Options { url: redis.url(), partitions: 4, ..Default::default() };
        let metrics = tidegate_broker::Metrics::new(&registry).unwrap();
        let (broker, deliveries) = RedisBroker::start(options, metrics, &Default::default()).unwrap();
        eventually("the broker is ready", async || broker.health().ready.then_some(())).await;
        let store = Arc::new(Redis::new(broker.pool(), "tg", &chat));
        Self::serve(&registry, (broker, deliveries), store, chat, Limits::default(), keyed).await
    }

    async fn serve(
        registry: &Registry,
        (broker, deliveries): (Arc<dyn Broker>, Deliveries),
        store: Arc<dyn Store>,
        chat: tidegate_chat::Options,
        limits: Limits,
        keyed: bool,
    ) -> Self {
        let metrics = tidegate_hub::Metrics::new(registry).unwrap();
        let hub = Hub::start(
            tidegate_hub::Options::default(),
            Arc::clone(&broker),
            deliveries,
            metrics,
            &Default::default(),
        );
        let metrics = Metrics::new(registry).unwrap();
        let options = Options {
            cookie: "tidegate_token".into(),
            topics: 1_000,
            loopback: true,
            limits,
            ..Options::default()
        };
        let (transport, auth) = (options.transport.clone(), Authenticator::new(&auth(keyed)).unwrap());
        let app = App::new(options, auth, Arc::clone(&broker), hub.clone(), metrics.clone());
        let router = public(app.clone(), vec![tidegate_chat::application(app, chat, store)]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        tokio::spawn(serve(listener, router, transport, metrics.transport.clone(), shutdown.clone()));
        Self { addr, hub, broker, metrics, shutdown, keyed }
    }

    /// A user of this node: in open mode by name, else with a token.
    pub(crate) fn person<'a>(&'a self, user: &'a str) -> Person<'a> {
        Person { node: self, user, token: self.keyed.then(|| token(user)) }
    }

    /// Whoever holds this token.
    pub(crate) fn holder<'a>(&'a self, token: &str) -> Person<'a> {
        Person { node: self, user: "", token: Some(token.into()) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Streams and polls open here.
    pub(crate) fn live(&self) -> usize {
        self.hub.live()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.hard.cancel();
        self.hub.stop();
    }
}

impl Person<'_> {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        tidegate_testkit::http::send(method, &self.url(path), self.token.as_deref(), body).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let mut url = self.node.url(path);
        if !self.node.keyed {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&format!("userId={}", self.user));
        }
        url
    }

    pub(crate) fn stream(&self, path: &str) -> Builder {
        let builder = Sse::builder(&self.url(path));
        self.token.iter().fold(builder, |builder, token| builder.bearer(token))
    }

    /// Opens a stream that is granted, and reads its first block.
    pub(crate) async fn open(&self, path: &str) -> Sse {
        let mut stream = self.stream(path).open().await;
        assert_eq!(stream.status, 200, "{path}");
        stream.next_named("tidegate:ready").await;
        stream
    }

    /// The stream that carries everything.
    pub(crate) async fn news(&self) -> Sse {
        self.open("/api/sse/subscribe").await
    }

    /// Makes a room, and gives its id.
    pub(crate) async fn room(&self, name: &str, participants: &[&str]) -> String {
        let answer =
            self.post("/api/chat/rooms", json!({ "name": name, "participants": participants })).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["id"].as_str().unwrap().into()
    }

    /// Sends a message, and gives it.
    pub(crate) async fn say(&self, room: &str, content: &str) -> Value {
        let answer =
            self.post(&format!("/api/chat/rooms/{room}/messages"), json!({ "content": content })).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body
    }
}

/// The data of the next event of this name.
pub(crate) async fn next(stream: &mut Sse, name: &str) -> Value {
    serde_json::from_str(&stream.next_named(name).await.data).unwrap()
}

/// The contents of messages.
pub(crate) fn contents(messages: &Value) -> Vec<&str> {
    messages.as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap()).collect()
}

/// Refused so, and the field that is named.
#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, field: Option<&str>) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["field"].as_str(), field, "{}", answer.body);
}

pub(crate) fn token(user: &str) -> String {
    let key = SigningKey::new("HS256".parse().unwrap(), &SECRET.to_owned().into(), None).unwrap();
    let claims = Claims::for_user(user, SystemTime::now() + Duration::from_secs(60));
    tidegate_auth::mint(&key, &claims).unwrap()
}

fn auth(keyed: bool) -> tidegate_auth::Options {
    let mut auth = tidegate_auth::Options { mode: Mode::Open, ..tidegate_auth::Options::default() };
    if keyed {
        auth.mode = Mode::Keys;
        auth.jwt = JwtOptions {
            keys: vec![JwtKey {
                algorithm: "HS256".parse().unwrap(),
                kid: None,
                material: KeyMaterial::Secret(SECRET.to_owned().into()),
            }],
            ..JwtOptions::default()
        };
        auth.api_keys = vec![ApiKey {
            name: "backend".into(),
            key: API_KEY.to_owned().into(),
            publish: Vec::new(),
            subscribe: Vec::new(),
            admin: true,
        }];
    }
    auth
}
