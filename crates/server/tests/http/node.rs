use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use prometheus::Registry;
use tidegate_auth::{ApiKey, Authenticator, JwtKey, JwtOptions, KeyMaterial, Mode};
use tidegate_broker::{Local, LocalOptions};
use tidegate_hub::Hub;
use tidegate_protocol::Pattern;
use tidegate_server::{App, Application, Metrics, Options, admin, advertise, public};
use tidegate_testkit::{DEADLINE, H3};
use tidegate_transport::tls::Certificates;
use tidegate_transport::{Http3, Listener, Shutdown, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const SECRET: &str = "a secret of at least sixty-four bytes, so that every HMAC length is content";
/// Another issuer's, with the `kid` [`OTHER_KID`].
pub(crate) const OTHER_SECRET: &str = "another secret of at least thirty-two bytes, known to another issuer";
pub(crate) const OTHER_KID: &str = "other";
pub(crate) const API_KEY: &str = "an-api-key-of-a-backend";

/// A gateway in this process, with the in-process broker, on ports of its own.
pub(crate) struct Node {
    addr: SocketAddr,
    admin: SocketAddr,
    pub(crate) hub: Hub,
    pub(crate) shutdown: Shutdown,
    tls: Option<Certificates>,
    pub(crate) app: App,
    h3: Option<JoinHandle<()>>,
}

/// What a test may turn.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) http: Option<Options>,
    pub(crate) hub: Option<tidegate_hub::Options>,
    pub(crate) memberships: Option<usize>,
    pub(crate) keyed: bool,
    pub(crate) tls: Option<Certificates>,
    pub(crate) h3: bool,
    /// HTTP/3 is advertised, but no packet of it arrives.
    pub(crate) udp_blocked: bool,
    /// What is served besides.
    pub(crate) application: Option<fn(App) -> Application>,
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
        let mut local = LocalOptions::default();
        local.memberships = setup.memberships.unwrap_or(local.memberships);
        let (broker, deliveries) = Local::new(local, metrics);
        let hub_metrics = tidegate_hub::Metrics::new(&registry).unwrap();
        let hub_options = setup.hub.unwrap_or_default();
        let hub = Hub::start(hub_options, broker.clone(), deliveries, hub_metrics, &Default::default());
        let mut auth = tidegate_auth::Options { mode: Mode::Open, ..tidegate_auth::Options::default() };
        if setup.keyed {
            auth.mode = Mode::Keys;
            auth.jwt = JwtOptions {
                keys: vec![key(SECRET, None), key(OTHER_SECRET, Some(OTHER_KID))],
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
        let (transport, counted) = (options.transport.clone(), metrics.transport.clone());
        let app = App::new(options, Authenticator::new(&auth).unwrap(), broker, hub.clone(), metrics);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, admin_addr) = (listener.local_addr().unwrap(), admin_listener.local_addr().unwrap());
        let shutdown = Shutdown::default();
        let names = ["localhost", "127.0.0.1"];
        let tls = setup.tls.or_else(|| setup.h3.then(|| Certificates::self_signed(&names).unwrap()));
        let listener = match &tls {
            Some(certificates) => Listener::tls(listener, certificates),
            None => listener.into(),
        };
        let mut router =
            public(app.clone(), setup.application.map(|make| make(app.clone())).into_iter().collect());
        let mut h3 = None;
        if let (true, Some(certificates)) = (setup.h3, &tls) {
            let http3 = Http3::new(UdpSocket::bind(addr).unwrap(), certificates, &transport, "").unwrap();
            let http3 = http3.serve(router.clone(), transport.clone(), counted.clone(), shutdown.clone());
            h3 = (!setup.udp_blocked).then(|| tokio::spawn(http3));
            router = advertise(router, app.clone(), addr.port());
        }
        tokio::spawn(serve(listener, router, transport.clone(), counted.clone(), shutdown.clone()));
        tokio::spawn(serve(admin_listener, admin(app.clone()), transport, counted, shutdown.clone()));
        Self { addr, admin: admin_addr, hub, shutdown, tls, app, h3 }
    }

    /// A node that speaks HTTP/3 as well, and a connection to it.
    pub(crate) async fn h3(setup: Setup) -> (Self, H3) {
        let node = Self::start(Setup { h3: true, ..setup }).await;
        let (base, pem) = node.h3_base();
        let connection = H3::connect(&base, &pem).await;
        (node, connection)
    }

    /// Where HTTP/3 is spoken, and the certificate.
    pub(crate) fn h3_base(&self) -> (String, String) {
        (format!("https://localhost:{}", self.addr.port()), self.tls.as_ref().unwrap().pem())
    }

    /// SHA-256 of the public key that it shows, in base64.
    pub(crate) fn spki_hash(&self) -> String {
        self.tls.as_ref().unwrap().spki_hash()
    }

    /// Waits until HTTP/3 is no longer spoken.
    pub(crate) async fn h3_ended(&mut self) {
        let served = self.h3.take().unwrap();
        tokio::time::timeout(DEADLINE, served).await.expect("it ends in time").unwrap();
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

    pub(crate) fn admin_addr(&self) -> SocketAddr {
        self.admin
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

fn key(secret: &str, kid: Option<&str>) -> JwtKey {
    JwtKey {
        algorithm: "HS256".parse().unwrap(),
        kid: kid.map(Into::into),
        material: KeyMaterial::Secret(secret.into()),
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
