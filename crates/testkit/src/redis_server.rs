//! A real Redis of a test's own.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, Value};
use tidegate_children::{Home, Process, RedisServer as Child, Signal};

use crate::wait::{DEADLINE, up};

/// What differs from a Redis that keeps nothing and lets everybody in.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Every write is in the append-only file before it is answered: no crash loses it.
    pub aof: bool,
    /// The password of the default user.
    pub password: Option<String>,
    /// More arguments, such as `["--maxmemory", "10mb"]`.
    pub args: Vec<String>,
}

/// A `redis-server` child on its own port and in its own directory. Dropping it kills it.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    options: Options,
}

impl RedisServer {
    /// A Redis with no persistence and no password.
    pub async fn start() -> RedisServer {
        RedisServer::start_with(Options::default()).await
    }

    /// A Redis with these options; returns once it answers.
    pub async fn start_with(options: Options) -> RedisServer {
        let home = Home::new("redis").unwrap();
        let server = RedisServer { child: Child::start(&home, options.arguments()).unwrap(), options };
        server.answers().await;
        server
    }

    /// `redis://…`, with the password if there is one.
    pub fn url(&self) -> String {
        match &self.options.password {
            Some(password) => format!("redis://:{password}@{}/", self.child.address()),
            None => format!("redis://{}/", self.child.address()),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.child.address()
    }

    /// The port on 127.0.0.1, the same after every restart.
    pub fn port(&self) -> u16 {
        self.child.address().port()
    }

    /// Kills it (SIGKILL: a crash) and waits for the end. The port stays reserved for
    /// [`start_again`](Self::start_again).
    pub async fn stop(&mut self) {
        self.child.stop();
    }

    /// Starts it after a [`stop`](Self::stop), with what the append-only file holds, if there is
    /// one. Without: empty.
    pub async fn start_again(&mut self) {
        self.child.start_again().unwrap();
        self.answers().await;
    }

    /// A crash and a start that keep the data. Without an append-only file the data is saved just
    /// before.
    pub async fn restart(&mut self) {
        if !self.options.aof {
            self.cli(&["SAVE"]).await;
        }
        self.stop().await;
        self.start_again().await;
        // A later stop means a loss again.
        let _ = fs::remove_file(self.child.dir().join("dump.rdb"));
    }

    /// A crash and a start that lose everything.
    pub async fn restart_empty(&mut self) {
        self.stop().await;
        self.child.forget().unwrap();
        self.start_again().await;
    }

    /// SIGSTOP: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.running().signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.running().signal(Signal::SIGCONT);
    }

    /// Runs one command, `cli(&["CLIENT", "KILL", "TYPE", "pubsub"])`, on a connection of its own.
    pub async fn cli(&self, command: &[&str]) -> Value {
        self.try_cli(command).await.unwrap_or_else(|e| panic!("redis: {command:?}: {e}"))
    }

    /// The same, for commands that Redis may refuse.
    pub async fn try_cli(&self, command: &[&str]) -> Result<Value, RedisError> {
        let (name, arguments) = command.split_first().ok_or((ErrorKind::Client, "an empty command"))?;
        redis::cmd(name).arg(arguments).query_async(&mut self.connection().await?).await
    }

    pub(crate) async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(DEADLINE));
        Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }

    fn running(&self) -> &Process {
        self.child.process().expect("redis-server is stopped")
    }

    async fn answers(&self) {
        let is_up = async || self.try_cli(&["PING"]).await.is_ok();
        up(self.running(), "redis-server does not answer", is_up).await;
    }
}

impl Options {
    fn arguments(&self) -> Vec<String> {
        let mut words = vec!["--save", "", "--enable-debug-command", "local"];
        if self.aof {
            words.extend(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        if let Some(password) = &self.password {
            words.extend(["--requirepass", password]);
        }
        words.into_iter().map(ToOwned::to_owned).chain(self.args.iter().cloned()).collect()
    }
}
