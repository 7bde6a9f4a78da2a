//! What Redis' errors mean: whether a command ran, and what to do. In one place, for all who ask.

use redis::{RedisError, ServerError};
use tidegate_broker::Error;

/// A command that Redis has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    /// Redis' own words.
    words: String,
    /// They name another server.
    has_address: bool,
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
        // Which line of which script it was is of no use to anybody.
        let details = details.split(" script: ").next().unwrap_or_default().trim_end_matches('.');
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
        let has_address = matches!(code, "MOVED" | "ASK");
        Self { kind, words: words.trim_end().into(), has_address }
    }

    /// For the caller of the broker.
    pub(crate) fn error(self) -> Error {
        match self.kind {
            Kind::Failed => Error::Unknown(self.words),
            _ if self.has_address => Error::Unavailable(self.words),
            Kind::Refused if self.is_about_rights() => Error::Refused(format!(
                "{}; the Redis user needs what docs/operations.md lists under \"Rights\"",
                self.words
            )),
            _ => Error::Refused(self.words),
        }
    }

    fn is_about_rights(&self) -> bool {
        ["NOPERM", "NOAUTH", "can't run this command"].iter().any(|word| self.words.contains(word))
    }
}

/// What went wrong before anything was sent that could store an event: in Redis' own words where it
/// spoke.
pub(crate) fn unavailable(error: &RedisError) -> Error {
    if error.is_timeout() {
        return Error::Unavailable("Redis did not answer in time".into());
    }
    let refusal = error.code().map(|code| Refusal::new(code, error.detail().unwrap_or_default()));
    match refusal {
        Some(refusal) if refusal.kind != Kind::Failed => refusal.error(),
        _ => Error::Unavailable(error.to_string()),
    }
}

/// An error's own words: what it is about is clear where they are shown.
pub(crate) fn words(error: Error) -> String {
    match error {
        Error::Unavailable(words)
        | Error::Refused(words)
        | Error::Unknown(words)
        | Error::Busy(words)
        | Error::Protocol(words) => words,
        other @ Error::Memberships(_) => other.to_string(),
    }
}

/// The answer to a command did not come: the command may have run.
pub(crate) fn unanswered(error: &RedisError) -> Error {
    if error.is_timeout() {
        return Error::Unknown("Redis did not answer in time".into());
    }
    Error::Unknown(error.to_string())
}
