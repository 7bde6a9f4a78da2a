//! A whole node in this process: HTTP, hub, and the seats.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tidegate_auth::{Authenticator, JwtKey, JwtOptions, KeyMaterial, Mode};
use tidegate_broker::{Local, LocalOptions};
use tidegate_hub::Hub;
use tidegate_seats::store::Memory;
use tidegate_seats::{Options, application};
use tidegate_server::{App, Metrics, public};
use tidegate_testkit::http::{self, Answer};
use tidegate_transport::{Shutdown, serve};
use tokio::net::TcpListener;

pub(crate) const SECRET: &str = "a secret of at least sixty-four bytes, so that every HMAC length is content";

pub(crate) struct Node {
    base: String,
    hub: Hub,
    shutdown: Shutdown,
    pub(crate) metrics: Metrics,
}

impl Node {
    pub(crate) async fn open(options: Options) -> Self {
        Self::start(options, Mode::Open).await
    }

    pub(crate) async fn keyed() -> Self {
        Self::start(Options::default(), Mode::Keys).await
    }

    async fn start(options: Options, mode: Mode) -> Self {
        let registry = Registry::new();
        let metrics = tidegate_broker::Metrics::new(&registry).unwrap();
        let (broker, deliveries) = Local::new(LocalOptions::default(), metrics);
        let metrics = tidegate_hub::Metrics::new(&registry).unwrap();
        let options_of_hub = tidegate_hub::Options::default();
        let hub = Hub::start(options_of_hub, broker.clone(), deliveries, metrics, &Default::default());
        let material = KeyMaterial::Secret(SECRET.to_owned().into());
        let key = JwtKey { algorithm: "HS256".parse().unwrap(), kid: None, material };
        let keys = if mode == Mode::Keys { vec![key] } else { Vec::new() };
        let jwt = JwtOptions { keys, ..JwtOptions::default() };
        let auth = tidegate_auth::Options { mode, jwt, ..tidegate_auth::Options::default() };
        let metrics = Metrics::new(&registry).unwrap();
        let settings = tidegate_server::Options::default();
        let transport = settings.transport.clone();
        let app =
            App::new(settings, Authenticator::new(&auth).unwrap(), broker, hub.clone(), metrics.clone());
        let seats = application(app.clone(), Arc::new(Memory::new(&options)), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = Shutdown::default();
        let router = public(app, vec![seats]);
        tokio::spawn(serve(listener, router, transport, metrics.transport.clone(), shutdown.clone()));
        Self { base, hub, shutdown, metrics }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        http::get(&self.url(path)).await
    }

    pub(crate) async fn post(&self, path: &str, token: Option<&str>) -> Answer {
        http::send(reqwest::Method::POST, &self.url(path), token, None).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.hard.cancel();
        self.hub.stop();
    }
}

pub(crate) fn token(user: &str) -> String {
    let algorithm = "HS256".parse().unwrap();
    let key = tidegate_auth::SigningKey::new(algorithm, &SECRET.to_owned().into(), None).unwrap();
    let end = std::time::SystemTime::now() + Duration::from_secs(60);
    tidegate_auth::mint(&key, &tidegate_auth::Claims::for_user(user, end)).unwrap()
}
