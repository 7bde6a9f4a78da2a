//! Connections that are taken for one question and given back: for reading, and for what
//! applications keep in the same Redis.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, RecycleResult, TimeoutType};
use deadpool_redis::Runtime;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};
use tidegate_broker::Error;

use crate::connect::Connector;
use crate::errors::unavailable;
use crate::{Options, StartError};

/// A few connections for all callers. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    connections: managed::Pool<Manager, Connection>,
    /// Getting a connection never takes longer, however many of them turn out to be dead.
    patience: Duration,
}

/// A connection that goes back to its pool when it is dropped.
pub struct Connection(Object<Manager>);

/// Which connections still are to the primary: those of the current generation.
#[derive(Clone, Default)]
pub(crate) struct Generation(Arc<AtomicU64>);

/// Connects as the rest of the broker does, and leaves the rest to the library.
struct Manager {
    connector: Connector,
    library: deadpool_redis::Manager,
    generation: Generation,
}

struct Aged {
    connection: MultiplexedConnection,
    generation: u64,
}

impl Generation {
    /// Another server may be the primary: connections that there are go when they are given back.
    pub(crate) fn end(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn current(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Pool {
    /// A pool of its own, without a broker. Connections are made when they are needed.
    pub fn open(options: &Options) -> Result<Self, StartError> {
        Self::new(Connector::new(&options.check()?, options)?, Generation::default(), options)
    }

    pub(crate) fn new(
        connector: Connector,
        generation: Generation,
        options: &Options,
    ) -> Result<Self, StartError> {
        let failed = |rule: String| StartError::Option { option: "pool_size", rule };
        let library =
            deadpool_redis::Manager::new(connector.settings()).map_err(|error| failed(error.to_string()))?;
        let patience = options.response_timeout;
        let connections = managed::Pool::builder(Manager { connector, library, generation })
            .max_size(options.pool_size)
            .wait_timeout(Some(patience))
            .create_timeout(Some(patience))
            .recycle_timeout(Some(patience))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { connections, patience })
    }

    /// Waits for a connection, for [`Options::response_timeout`] at most. Each idle connection is
    /// pinged before use, and a Redis that hangs answers on none of them: without this bound the
    /// waiting times would add up.
    pub async fn get(&self) -> Result<Connection, Error> {
        match tokio::time::timeout(self.patience, self.connections.get()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(managed::PoolError::Backend(error))) => Err(unavailable(&error)),
            Ok(Err(managed::PoolError::Timeout(TimeoutType::Wait))) => {
                Err(Error::Busy("all connections for reading are in use".into()))
            }
            Ok(Err(other)) => Err(Error::Unavailable(other.to_string())),
            Err(_) => Err(Error::Unavailable("no connection to Redis in time".into())),
        }
    }

    /// No more connections.
    pub(crate) fn close(&self) {
        self.connections.close();
    }
}

impl Connection {
    /// Takes it out of its pool for good: late answers may still be on their way.
    #[must_use]
    pub fn take(this: Self) -> MultiplexedConnection {
        Object::take(this.0).connection
    }
}

impl managed::Manager for Manager {
    type Type = Aged;
    type Error = RedisError;

    async fn create(&self) -> Result<Aged, RedisError> {
        let generation = self.generation.current();
        Ok(Aged { connection: self.connector.connect(|_| {}).await?, generation })
    }

    async fn recycle(&self, aged: &mut Aged, metrics: &Metrics) -> RecycleResult<RedisError> {
        if aged.generation != self.generation.current() {
            return Err(managed::RecycleError::message("another server may be the primary"));
        }
        self.library.recycle(&mut aged.connection, metrics).await
    }
}

impl From<Object<Manager>> for Connection {
    fn from(object: Object<Manager>) -> Self {
        Self(object)
    }
}

impl Deref for Connection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.0.connection
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.0.connection
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.connection.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.0.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.connection.get_db()
    }
}
