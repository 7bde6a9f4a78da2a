//! What Redis' errors mean: whether a command ran, and what to do. In one place, for all who ask.

use redis::{RedisError, ServerError};
use tidegate_broker::Error;

/// A command that Redis has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    /// Redis' own words.
    words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This server is not the primary (any more): the connection must go.
    NotPrimary,
    /// Not now, perhaps in a moment.
    Soon,
    /// Redis does not know the script: load it.
    NoScript,
    /// Redis would refuse it again: its memory is full, the user lacks a right, too few replicas.
    Refused,
    /// The script failed when it ran: it may have written something.
    Failed,
}

impl Refusal {
    pub(crate) fn of(error: &ServerError) -> Self {
        Self::new(error.code(), error.details().unwrap_or_default())
    }

    fn new(code: &str, details: &str) -> Self {
        // 7.0 says so in a script, Valkey 9 with another letter.
        let foreign = details.contains("ttempted to access a non local key");
        let denied = details.contains("can't run this command or subcommand");
        let kind = match code {
            "MOVED" | "READONLY" => Kind::NotPrimary,
            "ERR" if foreign => Kind::NotPrimary,
            "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING" | "BUSY" => Kind::Soon,
            "NOSCRIPT" => Kind::NoScript,
            "OOM" | "NOPERM" | "NOAUTH" | "NOREPLICAS" | "MISCONF" | "CROSSSLOT" | "WRONGTYPE" => {
                Kind::Refused
            }
            "ERR" if denied => Kind::Refused,
            _ => Kind::Failed,
        };
        let words = format!("Redis refused: {code} {details}");
        Self { kind, words: words.trim_end().into() }
    }

    /// For the caller of the broker.
    pub(crate) fn error(self) -> Error {
        match self.kind {
            Kind::Failed => Error::Unknown(self.words),
            Kind::Refused if self.is_about_rights() => Error::Unavailable(format!(
                "{}; the Redis user needs what docs/operations.md lists under \"Rights\"",
                self.words
            )),
            _ => Error::Unavailable(self.words),
        }
    }

    fn is_about_rights(&self) -> bool {
        ["NOPERM", "NOAUTH", "can't run this command"].iter().any(|word| self.words.contains(word))
    }
}

/// The error for a connection that lacks a right.
pub(crate) fn denied(error: &RedisError) -> Option<Error> {
    let refusal = Refusal::new(error.code()?, error.detail().unwrap_or_default());
    refusal.is_about_rights().then(|| refusal.error())
}

/// A command that was sent, and whose answer did not come: nobody knows whether it ran.
pub(crate) fn unanswered(error: &RedisError) -> Error {
    if error.is_timeout() {
        return Error::Unknown("Redis did not answer in time".into());
    }
    Error::Unknown(error.to_string())
}
