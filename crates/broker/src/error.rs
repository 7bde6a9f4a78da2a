/// Why the broker could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The store can't be reached, or this node can't use it. Nothing was stored or sent.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// The store has answered that it can't: in its own words, which name no host and no password.
    /// Nothing was stored or sent.
    #[error("{0}")]
    Refused(String),
    /// The store's answer did not come, or does not count: what was to be stored may be.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
    /// This node has more deliveries waiting than it may hold.
    #[error("the node is busy: {0}")]
    Busy(String),
    /// The user is a member of as many topics as one may be.
    #[error("the user has {0} memberships, and may have no more")]
    Memberships(usize),
    /// The store answered something that this version does not understand.
    #[error("the broker answered unexpectedly: {0}")]
    Protocol(String),
}

impl Error {
    /// Every word of [`Error::code`] that a publish can fail with.
    pub const CODES: [&str; 5] = ["unavailable", "refused", "unknown", "busy", "protocol"];

    /// A stable word for metric labels.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
            Self::Unknown(_) => "unknown",
            Self::Busy(_) => "busy",
            Self::Memberships(_) => "memberships",
            Self::Protocol(_) => "protocol",
        }
    }
}
