//! Another way to Redis than TCP. The simulation has no other way into the product.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's two directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens connections instead of TCP.
pub trait Dialer: Send + Sync {
    /// Opens one.
    fn dial(&self) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
}

/// As `Client` does it over TCP. The connection's task ends with the stream.
pub(crate) async fn connect(
    dialer: &Arc<dyn Dialer>,
    info: &RedisConnectionInfo,
    config: AsyncConnectionConfig,
    patience: Duration,
) -> Result<MultiplexedConnection, RedisError> {
    let made = async {
        let stream = dialer.dial().await?;
        MultiplexedConnection::new_with_config(info, stream, config).await
    };
    let made = tokio::time::timeout(patience, made).await;
    let (connection, driver) = made.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // Short-lived: it ends with its connection, whose user notices.
    tokio::spawn(driver);
    Ok(connection)
}
