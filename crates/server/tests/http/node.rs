use std::net::SocketAddr;
use std::time::Duration;

use prometheus::Registry;
use tidegate_auth::{ApiKey, Authenticator, JwtKey, JwtOptions, KeyMaterial, Mode};
use tidegate_broker::{Local, LocalOptions};
use tidegate_hub::Hub;
use tidegate_protocol::Pattern;
use tidegate_server::tls::Certificates;
use tidegate_server::{App, Listener, Metrics, Options, Shutdown, admin, public, serve};
use tokio::net::TcpListener;

pub(crate) const SECRET: &str = "a secret of at least sixty-four bytes, so that every HMAC length is content";
pub(crate) const API_KEY: &str = "an-api-key-of-a-backend";

/// A gateway in this process, with the in-process broker, on ports of its own.
pub(crate) struct Node {
    addr: SocketAddr,
    admin: SocketAddr,
    pub(crate) hub: Hub,
    pub(crate) shutdown: Shutdown,
    tls: Option<Certificates>,
}

/// What a test may turn.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) http: Option<Options>,
    pub(crate) hub: Option<tidegate_hub::Options>,
    pub(crate) keyed: bool,
    pub(crate) tls: Option<Certificates>,
}

pub(crate) fn options() -> Options {
    Options {
        cookie: "tidegate_token".into(),
        topics: 1_000,
        page: true,
        loopback: true,
        ..Options::default()
    }
}

impl Node {
    pub(crate) async fn open() -> Self {
        Self::start(Setup::default()).await
    }

    pub(crate) async fn keyed() -> Self {
        Self::start(Setup { keyed: true, ..Setup::default() }).await
    }

    pub(crate) async fn start(setup: Setup) -> Self {
        let registry = Registry::new();
        let metrics = tidegate_broker::Metrics::new(&registry).unwrap();
        let (broker, deliveries) = Local::new(LocalOptions::default(), metrics);
        let hub_metrics = tidegate_hub::Metrics::new(&registry).unwrap();
        let hub = Hub::start(setup.hub.unwrap_or_default(), broker, deliveries, hub_metrics);
        let mut auth = tidegate_auth::Options { mode: Mode::Open, ..tidegate_auth::Options::default() };
        if setup.keyed {
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
                publish: vec!["**".into()],
                subscribe: vec!["**".into()],
                admin: true,
            }];
        }
        let options = setup.http.unwrap_or_else(options);
        let metrics = Metrics::new(&registry).unwrap();
        let limits = options.limits.clone();
        let app = App::new(options, Authenticator::new(&auth).unwrap(), hub.clone(), metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, admin_addr) = (listener.local_addr().unwrap(), admin_listener.local_addr().unwrap());
        let shutdown = Shutdown::default();
        let listener = match &setup.tls {
            Some(certificates) => Listener::tls(listener, certificates),
            None => listener.into(),
        };
        tokio::spawn(serve(listener, public(app.clone()), limits.clone(), metrics.clone(), shutdown.clone()));
        tokio::spawn(serve(admin_listener, admin(app.clone()), limits, metrics, shutdown.clone()));
        Self { addr, admin: admin_addr, hub, shutdown, tls: setup.tls }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn base(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.addr)
    }

    /// What a client of a node with TLS has to trust.
    pub(crate) fn pem(&self) -> String {
        self.tls.as_ref().unwrap().pem()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base())
    }

    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    pub(crate) async fn metrics(&self) -> String {
        reqwest::get(self.admin_url("/metrics")).await.unwrap().text().await.unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.hard.cancel();
        self.hub.stop();
    }
}

/// A token for `user` with grants, good for `ttl`.
pub(crate) fn token(user: &str, subscribe: &[&str], publish: &[&str], ttl: Duration) -> String {
    let key =
        tidegate_auth::SigningKey::new("HS256".parse().unwrap(), &SECRET.to_owned().into(), None).unwrap();
    let mut claims = tidegate_auth::Claims::for_user(user, std::time::SystemTime::now() + ttl);
    let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    claims.subscribe = patterns(subscribe);
    claims.publish = patterns(publish);
    tidegate_auth::mint(&key, &claims).unwrap()
}
