use std::collections::HashSet;

use tidegate_protocol::{Position, Topic};

/// A change of what a stream receives.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The user became a member: what was published since the position belongs to the stream.
    Joined(Vec<(Topic, Option<Position>)>),
    /// The user is no longer a member.
    Left(HashSet<Topic>),
    /// The client wants these topics, beginning with the next event.
    Subscribe(Vec<Topic>),
    /// The client no longer wants these topics.
    Unsubscribe(Vec<Topic>),
}

/// Why a stream receives a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// The client asked for it, or it is the user's own. It stays when the membership ends.
    Request,
    /// The user is a member.
    Membership,
}
