//! Connections that are taken for one question and given back: for reading, and for what
//! applications keep in the same Redis.

use std::time::Duration;

use deadpool_redis::{Manager, PoolError, Runtime, TimeoutType};
use tidegate_broker::Error;

use crate::connect::{Connector, unavailable};
use crate::{Options, StartError};

pub use deadpool_redis::Connection;

/// A few connections for all callers. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    connections: deadpool_redis::Pool,
    /// Getting a connection never takes longer, however many of them turn out to be dead.
    patience: Duration,
}

impl Pool {
    /// A pool of its own, without a broker. Connections are made when they are needed.
    pub fn open(options: &Options) -> Result<Self, StartError> {
        Self::new(Connector::new(&options.check()?, options)?, options)
    }

    #[expect(clippy::needless_pass_by_value, reason = "the pool owns the way its connections are made")]
    pub(crate) fn new(connector: Connector, options: &Options) -> Result<Self, StartError> {
        let failed = |rule: String| StartError::Option { option: "pool_size", rule };
        let (info, config) = connector.settings();
        let manager = Manager::new_with_config(info, config).map_err(|error| failed(error.to_string()))?;
        let connections = deadpool_redis::Pool::builder(manager)
            .max_size(options.pool_size)
            .wait_timeout(Some(options.response_timeout))
            .create_timeout(Some(options.connect_timeout))
            .recycle_timeout(Some(options.response_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        // No shorter than a connection may take: else one that takes longer would never be made.
        Ok(Self { connections, patience: options.response_timeout.max(options.connect_timeout) })
    }

    /// Waits for a connection, for [`Options::response_timeout`] or [`Options::connect_timeout`] at
    /// most, whichever is longer. Each idle connection is asked for a sign of life, and a Redis
    /// that hangs gives none on any of them: without this bound the waiting times would add up.
    pub async fn get(&self) -> Result<Connection, Error> {
        match tokio::time::timeout(self.patience, self.connections.get()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(PoolError::Backend(error))) => Err(unavailable(&error)),
            Ok(Err(PoolError::Timeout(TimeoutType::Wait))) => {
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
