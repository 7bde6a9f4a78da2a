//! Everything between the sockets: broker, hub and HTTP, put together out of the configuration.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus::Registry;
use tidegate_auth::Authenticator;
use tidegate_broker::{Broker, Deliveries, Local, LocalOptions, Retention};
use tidegate_broker_redis::RedisBroker;
use tidegate_hub::{Heartbeat, Hub};
use tidegate_server::{
    AdmissionOptions, App, Application, Limits, Namespace, Namespaces, Policy, admin, advertise, public,
};
use tidegate_tasks::Tasks;
use tidegate_transport::{Connections, Http3, Listener, Shutdown, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::apps;
use crate::config::{Allowed, Config, HeartbeatStyle, Size};
use crate::lifecycle::Phases;
use crate::tls::Tls;

/// A gateway that is ready to be given sockets.
pub(crate) struct Gateway {
    app: App,
    hub: Hub,
    auth: Authenticator,
    metrics: tidegate_transport::Metrics,
    transport: tidegate_transport::Options,
    window: Duration,
    tls: Option<Tls>,
    applications: Vec<Application>,
}

/// HTTP/3, ready to be served.
pub(crate) struct Quic {
    http3: Http3,
    /// The port that clients are told.
    port: u16,
}

impl Gateway {
    /// Builds it. What the configuration's own check can't see is an error here.
    pub(crate) fn build(
        config: &Config,
        node: &str,
        max_connections: usize,
        registry: &Registry,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        process_metrics(registry)?;
        let tls = Tls::load(&config.tls, config.listen, registry)?;
        let broker_metrics = tidegate_broker::Metrics::new(registry)?;
        let Link { broker, deliveries, redis } = link(config, node, broker_metrics, tasks)?;
        let hub_metrics = tidegate_hub::Metrics::new(registry)?;
        let options = hub_options(config, node);
        let hub = Hub::start(options, Arc::clone(&broker), deliveries, hub_metrics, tasks);
        let server_metrics = tidegate_server::Metrics::new(registry)?;
        let metrics = server_metrics.transport.clone();
        let options = config
            .auth
            .options()
            .map_err(|(setting, problem)| anyhow::anyhow!("auth: {setting}: {problem}"))?;
        let auth = Authenticator::new(&options).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}", lines.join("\n"))
        })?;
        let options = server_options(config, max_connections);
        let (transport, window) = (options.transport.clone(), config.drain.window);
        let namespaces = options.namespaces.clone();
        let app = App::new(options, auth.clone(), broker, hub.clone(), server_metrics);
        let applications = apps::build(config, &namespaces, &app, redis.as_deref());
        Ok(Self { app, hub, auth, metrics, transport, window, tls, applications })
    }

    /// The main listener's certificate, if it has one.
    pub(crate) fn tls(&self) -> Option<Tls> {
        self.tls.clone()
    }

    /// HTTP/3 on `socket`, and the port that clients are told of it. None without a certificate.
    pub(crate) fn http3(&self, socket: UdpSocket, config: &Config) -> anyhow::Result<Option<Quic>> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let http3 =
            Http3::new(socket, tls.certificates(), &self.transport, &config.node).context("HTTP/3")?;
        let own = http3.local_addr().context("a UDP socket without an address")?.port();
        let told = config.http3.advertise_port;
        let port = if told == 0 { own } else { told };
        Ok(Some(Quic { http3, port }))
    }

    /// Serves until the phases end it: see [`Phases`].
    pub(crate) fn start(
        self,
        main: TcpListener,
        quic: Option<Quic>,
        admin: TcpListener,
        phases: &Phases,
        tasks: &Tasks,
    ) -> Running {
        let shutdown = Shutdown { graceful: phases.closing.clone(), hard: phases.stopped.clone() };
        // Operators see the drain to its end: the admin listener closes with the process.
        let admin_shutdown = Shutdown { graceful: phases.stopped.clone(), hard: phases.stopped.clone() };
        let (app, hub, auth) = (self.app, self.hub, self.auth);
        let to_the_end = tasks.until(&phases.stopped);
        to_the_end.spawn("key set", async move { auth.run().await });
        let (options, metrics) = (self.transport, self.metrics);
        let admin = serve(admin, self::admin(app.clone()), options.clone(), metrics.clone(), admin_shutdown);
        to_the_end.spawn_finishing("admin listener", admin);
        to_the_end.spawn("drain", drained(app.clone(), phases.clone(), self.window));
        let main = match &self.tls {
            Some(tls) => Listener::tls(main, tls.certificates()),
            None => main.into(),
        };
        let connections = Connections::default();
        let (main, mut router) = (main.counted(&connections), public(app.clone(), self.applications));
        let open = tasks.until(&phases.closing);
        let mut listeners = Vec::new();
        if let Some(quic) = quic {
            let listener = quic.http3.counted(&connections);
            let http3 = listener.serve(router.clone(), options.clone(), metrics.clone(), shutdown.clone());
            listeners.push(open.spawn_finishing("HTTP/3 listener", http3));
            router = advertise(router, app, quic.port);
        }
        let main = serve(main, router, options, metrics, shutdown);
        listeners.push(open.spawn_finishing("main listener", main));
        Running { listeners, hub }
    }
}

/// Turns the phases of a drain into what the parts do.
async fn drained(app: App, phases: Phases, window: Duration) {
    phases.draining.cancelled().await;
    app.drain();
    phases.closing.cancelled().await;
    app.hub().drain(window);
    phases.stopped.cancelled().await;
}

/// A gateway that serves.
pub(crate) struct Running {
    /// Those that clients come in by.
    listeners: Vec<JoinHandle<()>>,
    hub: Hub,
}

impl Running {
    /// Resolves when the phases have ended it and the last of its clients is gone. May be dropped
    /// and asked again.
    pub(crate) async fn finished(&mut self) {
        while let Some(listener) = self.listeners.last_mut() {
            // How it ended is the business of `Tasks`.
            let _ = listener.await;
            self.listeners.pop();
        }
        self.hub.stop();
    }
}

/// What joins the nodes.
struct Link {
    broker: Arc<dyn Broker>,
    deliveries: Deliveries,
    /// The same broker, if it is Redis: the applications' stores are in it too.
    redis: Option<Arc<RedisBroker>>,
}

fn link(
    config: &Config,
    node: &str,
    metrics: tidegate_broker::Metrics,
    tasks: &Tasks,
) -> anyhow::Result<Link> {
    let redis = &config.redis;
    if redis.url.is_empty() {
        let options = LocalOptions {
            partitions: redis.partitions,
            queue_bytes: bytes(redis.queue_bytes),
            memberships: config.limits.memberships,
            ..LocalOptions::default()
        };
        let (broker, deliveries) = Local::new(options, metrics);
        return Ok(Link { broker, deliveries, redis: None });
    }
    let options = tidegate_broker_redis::Options {
        url: redis.url.expose().to_owned(),
        ca_file: (!redis.ca_file.as_os_str().is_empty()).then(|| redis.ca_file.clone()),
        prefix: redis.prefix.clone(),
        partitions: redis.partitions,
        pool_size: redis.pool_size,
        publish_connections: redis.publish_connections,
        connect_timeout: redis.connect_timeout,
        response_timeout: redis.response_timeout,
        probe_interval: redis.probe_interval,
        probe_timeout: redis.probe_timeout,
        require_noeviction: redis.require_noeviction,
        queue_bytes: bytes(redis.queue_bytes),
        memberships: config.limits.memberships,
        node: node.to_owned(),
    };
    let (broker, deliveries) = RedisBroker::start(options, metrics, tasks).context("redis")?;
    Ok(Link { broker: Arc::clone(&broker) as _, deliveries, redis: Some(broker) })
}

fn hub_options(config: &Config, node: &str) -> tidegate_hub::Options {
    let stream = &config.stream;
    tidegate_hub::Options {
        node: node.to_owned(),
        heartbeat: stream.heartbeat,
        heartbeat_style: match &stream.heartbeat_style {
            HeartbeatStyle::Comment => Heartbeat::Comment,
            HeartbeatStyle::Event(name) => Heartbeat::Event { name: Some(name.clone()), data: String::new() },
        },
        retry: stream.retry,
        max_age: (!stream.max_age.is_zero()).then_some(stream.max_age),
        outbox_events: stream.outbox_events,
        outbox_bytes: bytes(stream.outbox_bytes),
        user_connections: stream.user_connections,
        ring_events: stream.ring_events,
        ring_bytes: bytes(stream.ring_bytes),
        ring_total: bytes(stream.ring_total),
        linger: config.redis.linger,
        join_timeout: config.limits.join_timeout,
        write_deadline: config.limits.write_deadline,
        history_memory: bytes(config.limits.history_memory),
        ..tidegate_hub::Options::default()
    }
}

fn server_options(config: &Config, max_connections: usize) -> tidegate_server::Options {
    let limits = &config.limits;
    let open = config.auth.is_open();
    tidegate_server::Options {
        // The check has refused what can't be parsed.
        origins: config.cors.parse().unwrap_or_default(),
        cookie: config.auth.cookie.clone(),
        topics: config.stream.topics,
        namespaces: namespaces(config),
        limits: Limits {
            body_memory: bytes(limits.body_memory),
            body_timeout: limits.body_timeout,
            event_bytes: bytes(limits.event_bytes),
            batch: limits.batch,
            publish_rate: limits.publish_rate,
            publish_burst: limits.publish_burst,
            poll_timeout: limits.poll_timeout,
        },
        transport: tidegate_transport::Options {
            connections: max_connections,
            header_bytes: bytes(limits.header_bytes),
            header_timeout: limits.header_timeout,
            body_bytes: bytes(limits.body_bytes),
            write_deadline: limits.write_deadline,
            h2_streams: limits.h2_streams,
            ws_messages: limits.ws_messages,
            ws_frames: limits.ws_frames,
        },
        admission: AdmissionOptions {
            address_connections: limits.address_connections,
            connect_rate: limits.connect_rate,
            connect_burst: limits.connect_burst,
            trusted_proxies: limits.trusted_proxies.iter().map(|network| network.0).collect(),
        },
        loopback: config.listen.ip().is_loopback(),
        page: config.apps.any(open),
    }
}

fn namespaces(config: &Config) -> Namespaces {
    let retention = Retention {
        size: config.history.size,
        ttl: config.history.ttl,
        record_ttl: config.history.record_ttl,
        key_ttl: config.idempotency.ttl,
    };
    let default = Namespace { retention, subscribe: Policy::Granted, publish: Policy::Granted };
    let named = config.namespaces.iter().map(|(name, rules)| {
        let retention = Retention {
            size: rules.size.unwrap_or(retention.size),
            ttl: rules.ttl.unwrap_or(retention.ttl),
            ..retention
        };
        (
            name.clone(),
            Namespace { retention, subscribe: policy(rules.subscribe), publish: policy(rules.publish) },
        )
    });
    Namespaces { default, named: named.collect() }
}

fn policy(allowed: Allowed) -> Policy {
    match allowed {
        Allowed::Granted => Policy::Granted,
        Allowed::Authenticated => Policy::Authenticated,
        Allowed::Anyone => Policy::Anyone,
    }
}

fn process_metrics(registry: &Registry) -> prometheus::Result<()> {
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    let build = prometheus::IntGaugeVec::new(
        prometheus::Opts::new("tidegate_build_info", "Always 1; the label says which version runs"),
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))
}

/// A size as a count of bytes in memory; one that no memory has is as good as the largest.
fn bytes(size: Size) -> usize {
    usize::try_from(size.bytes()).unwrap_or(usize::MAX)
}
