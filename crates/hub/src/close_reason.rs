use std::time::Duration;

/// Why a stream ended. The names go over the wire and into metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client went away.
    Client,
    /// The client did not read fast enough.
    SlowConsumer,
    /// Its socket took nothing for longer than allowed.
    WriteDeadline,
    /// Its credential expired.
    TokenExpired,
    /// It was open for as long as a stream may be.
    MaxAge,
    /// The node goes away.
    Drain,
    /// The user was disconnected.
    Disconnected,
    /// A replay was larger than one stream may queue: the rest comes at the reconnect.
    Replay,
    /// The broker could not be asked for what the stream needs.
    Unavailable,
}

impl CloseReason {
    /// Every reason there is.
    pub const ALL: [Self; 9] = [
        Self::Client,
        Self::SlowConsumer,
        Self::WriteDeadline,
        Self::TokenExpired,
        Self::MaxAge,
        Self::Drain,
        Self::Disconnected,
        Self::Replay,
        Self::Unavailable,
    ];

    /// When its client comes back, on the average: each is told a time of its own around it. Later
    /// if the node ended the streams for want of the broker: all of them end at once then, and what
    /// is wrong may take a while.
    pub(crate) fn retry(self, retry: Duration) -> Duration {
        if self == Self::Unavailable { retry * 4 } else { retry }
    }

    /// The name on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::SlowConsumer => "slow_consumer",
            Self::WriteDeadline => "write_deadline",
            Self::TokenExpired => "token_expired",
            Self::MaxAge => "max_age",
            Self::Drain => "drain",
            Self::Disconnected => "disconnected",
            Self::Replay => "replay",
            Self::Unavailable => "unavailable",
        }
    }
}
