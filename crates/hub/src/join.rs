use std::sync::Arc;
use std::time::Instant;

use tidegate_protocol::{Format, Topic};

use crate::options::StreamOverrides;

/// A request for a stream.
#[derive(Clone)]
pub struct Join {
    /// Whose stream it is, by the user's own topic: it is counted among the user's, and ends when
    /// the user is disconnected.
    pub(crate) user: Option<Topic>,
    /// What it carries of the user's.
    pub(crate) scope: Scope,
    /// The topics asked for; the caller has checked that they may be.
    pub(crate) topics: Vec<Topic>,
    /// Where to begin.
    pub(crate) resume: Resume,
    /// When the credential expires.
    pub(crate) expires_at: Option<Instant>,
    /// How events look.
    pub(crate) format: Format,
    /// How the stream differs from the node's settings.
    pub(crate) overrides: Option<Arc<StreamOverrides>>,
}

impl Join {
    /// A stream of server-sent events for these topics, which begins with the next event and
    /// belongs to no user.
    pub fn new(topics: Vec<Topic>) -> Self {
        Self {
            user: None,
            scope: Scope::Own,
            topics,
            resume: Resume::Live,
            expires_at: None,
            format: Format::Sse,
            overrides: None,
        }
    }

    /// Counts it among the streams of the user with this own topic. `None`: anonymous.
    #[must_use]
    pub fn user(self, own_topic: Option<Topic>) -> Self {
        Self { user: own_topic, ..self }
    }

    /// What it carries of the user's.
    #[must_use]
    pub fn scope(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// Where it begins.
    #[must_use]
    pub fn resume(self, resume: Resume) -> Self {
        Self { resume, ..self }
    }

    /// Ends it when its credential expires. `None`: never.
    #[must_use]
    pub fn expires_at(self, at: Option<Instant>) -> Self {
        Self { expires_at: at, ..self }
    }

    /// How its events look.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// How it differs from the node's settings.
    #[must_use]
    pub fn overrides(self, overrides: Option<Arc<StreamOverrides>>) -> Self {
        Self { overrides, ..self }
    }

    /// Changes how it differs from the node's settings.
    #[must_use]
    pub fn change_overrides(
        self,
        change: impl FnOnce(Option<Arc<StreamOverrides>>) -> Option<Arc<StreamOverrides>>,
    ) -> Self {
        Self { overrides: change(self.overrides), ..self }
    }
}

/// What a user's stream carries besides the topics asked for, and what ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The user's own topic and memberships.
    #[default]
    Own,
    /// Nothing.
    Topics,
    /// Nothing, and it ends when the user stops being a member of one of its topics.
    Membership,
}

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// With the next event.
    Live,
    /// After an id, as the client gave it.
    After(String),
    /// With the last few events of each topic.
    Last(u32),
}

/// Why a stream was not opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not confirm in time.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// The user has as many streams on this node as allowed.
    #[error("the user has {0} streams on this node already")]
    UserLimit(usize),
    /// The node is shutting down.
    #[error("the node is draining")]
    Draining,
}

impl Error {
    /// The reason given to the client in `tidegate:closing`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::UserLimit(_) => "user_limit",
            Self::Draining => "drain",
        }
    }
}
