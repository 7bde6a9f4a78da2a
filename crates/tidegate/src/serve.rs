//! `tidegate serve`: the life of a gateway.

use std::io::{IsTerminal as _, stderr};
use std::net::SocketAddr;
use std::time::Duration;

use prometheus::Registry;
use tidegate_tasks::Tasks;
use tokio::time::timeout;

use crate::config::Config;
use crate::gateway::Gateway;
use crate::lifecycle::{self, Caught, Outcome, Phases, Signals, drain, times};
use crate::telemetry::Telemetry;
use crate::{listeners, open_files, tls};

/// The longest that a process which is to end at once waits for its last packets to be sent.
const FAREWELL: Duration = Duration::from_millis(500);

/// Runs a gateway until a signal ends it, or one of its tasks fails. `victim`: see [`Tasks::kill`].
pub(crate) async fn run(
    config: Config,
    telemetry: &Telemetry,
    tasks: &Tasks,
    victim: Option<&str>,
) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let hangups = lifecycle::hangups()?;
    let max_connections = open_files::connections(config.limits.connections, open_files::raise_limit());
    let main = listeners::bind(config.listen, "listen", "--listen")?;
    let address = listeners::address(&main)?;
    let h3 = config.tls.is_on() && config.http3.enabled;
    let udp = h3.then(|| listeners::bind_udp(address)).transpose()?;
    let admin = listeners::bind(config.admin_listen, "admin_listen", "--admin-listen")?;
    let node = node_name(&config.node);

    let registry = Registry::new();
    telemetry.register(&registry)?;
    let gateway = Gateway::build(&config, &node, max_connections, &registry, tasks)?;

    let quic = match udp {
        Some(socket) => gateway.http3(socket, &config)?,
        None => None,
    };

    announce(&config, &node, address, listeners::address(&admin)?);
    let phases = Phases::default();
    tasks.until(&phases.stopped).spawn("certificate", tls::upkeep(gateway.tls(), hangups));
    let mut running = gateway.start(main, quic, admin, &phases, tasks);
    if let Some(victim) = victim {
        anyhow::ensure!(tasks.kill(victim), "no such task: {victim}");
    }

    let signal = tokio::select! {
        signal = signals.next() => signal,
        // Better no process than one that looks alive: what supervises it starts another.
        failure = tasks.failed() => return Err(failure.into()),
    };
    let at_terminal = stderr().is_terminal();
    match signal {
        Caught::Interrupt if at_terminal => tracing::info!("a second Ctrl-C ends it at once; ending"),
        _ => tracing::info!(%signal, "ending; a second signal ends it at once"),
    }
    let times = times(&config.drain, signal, at_terminal);
    let outcome = tokio::select! {
        outcome = drain(&times, &phases, signals.next(), running.finished()) => outcome,
        failure = tasks.failed() => return Err(failure.into()),
    };
    match outcome {
        Outcome::Clean => tracing::info!("every stream was closed; goodbye"),
        Outcome::Cut => {
            tracing::warn!(deadline = ?config.drain.deadline, "the drain's deadline cut the remaining connections");
        }
        Outcome::Interrupted => {}
    }
    if outcome != Outcome::Clean {
        // The kernel closes what is left of TCP, but QUIC's clients are told by the process or not at all.
        let _ = timeout(FAREWELL, running.finished()).await;
    }
    Ok(())
}

/// Says what this is, and loudly when it is open.
fn announce(config: &Config, node: &str, listen: SocketAddr, admin: SocketAddr) {
    let broker =
        if config.redis.url.is_empty() { "in-process".to_owned() } else { config.redis.url.to_string() };
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, node, %listen, %admin, broker, "tidegate");
    if config.auth.is_open() {
        tracing::warn!(
            "OPEN: no key is asked for, everybody who reaches {listen} may subscribe, publish and manage. Configure [auth] before others can reach it"
        );
    }
    if config.tls.is_on() && config.http3.enabled {
        tracing::info!("HTTP/3 on UDP {listen}");
    }
    if config.apps.any(config.auth.is_open()) {
        let scheme = if config.tls.is_on() { "https" } else { "http" };
        tracing::info!("the page is at {scheme}://{listen}/");
    }
}

/// The configured name, or six random letters.
fn node_name(configured: &str) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    use rand::Rng as _;
    let mut random = rand::rng();
    (0..6).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect()
}
