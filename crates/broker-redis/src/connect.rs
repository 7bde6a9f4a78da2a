//! How connections to Redis are made: the same settings for all, whoever supervises them.

use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ProtocolVersion, PushInfo, RedisError, TlsCertificates,
};
use tidegate_broker::Error;

use crate::errors::denied;
use crate::{Options, StartError};

/// A peer that vanished without a word is noticed after this, also on a connection that only listens.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Unacknowledged bytes end a connection after this: the kernel's own limit is a quarter of an hour.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands that may wait in one connection for being written. Callers wait for room, in order.
const PIPELINE: usize = 1024;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    client: Client,
    config: AsyncConnectionConfig,
    #[cfg(feature = "simulation")]
    dialed: Option<(std::sync::Arc<dyn crate::Dialer>, Duration)>,
    /// For people: where Redis is, without the password.
    pub(crate) address: String,
}

impl Connector {
    pub(crate) fn new(info: &ConnectionInfo, options: &Options) -> Result<Self, StartError> {
        // redis-rs leaves Nagle's algorithm on by default.
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(
                TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3),
            )
            .set_user_timeout(USER_TIMEOUT);
        // RESP3: messages and answers on the same connection.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let address = info.addr().to_string();
        let info = info.clone().set_tcp_settings(tcp).set_redis_settings(settings);
        let client = match options.trusted()? {
            None => Client::open(info).map_err(|error| StartError::Url(error.to_string()))?,
            trusted => Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: trusted })
                .map_err(|error| StartError::Option { option: "ca_file", rule: error.to_string() })?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.response_timeout))
            .set_pipeline_buffer_size(PIPELINE);
        Ok(Self {
            client,
            config,
            #[cfg(feature = "simulation")]
            dialed: options.dialer.clone().map(|dialer| (dialer, options.connect_timeout)),
            address,
        })
    }

    /// Connects and logs in. `push` runs in the connection's own task, for each message and once at the end.
    pub(crate) async fn connect(
        &self,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, RedisError> {
        let push = move |info| {
            push(info);
            Ok::<(), SendError>(())
        };
        let config = self.config.clone().set_push_sender(push);
        #[cfg(feature = "simulation")]
        if let Some((dialer, patience)) = &self.dialed {
            let info = self.client.get_connection_info().redis_settings();
            return crate::dialer::connect(dialer, info, config, *patience).await;
        }
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Where Redis is.
    pub(crate) fn settings(&self) -> ConnectionInfo {
        self.client.get_connection_info().clone()
    }
}

/// What went wrong with Redis, for the caller of the broker: in Redis' own words where it spoke.
pub(crate) fn unavailable(error: &RedisError) -> Error {
    if error.is_timeout() {
        return Error::Unavailable("Redis did not answer in time".into());
    }
    denied(error).unwrap_or_else(|| Error::Unavailable(error.to_string()))
}

/// An error's own words: what it is about is clear where they are shown.
pub(crate) fn words(error: Error) -> String {
    match error {
        Error::Unavailable(words) | Error::Unknown(words) | Error::Busy(words) | Error::Protocol(words) => {
            words
        }
        other @ Error::Memberships(_) => other.to_string(),
    }
}

/// An answer of a shape that no script of this version gives.
pub(crate) fn unexpected(what: &str) -> Error {
    Error::Protocol(what.into())
}
