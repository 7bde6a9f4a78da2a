use std::collections::HashMap;
use std::sync::Arc;

/// Channels to subscribe and to unsubscribe, in the order of the calls. Stale ones are sorted out when they are taken.
///
/// Only for a connection that there is: without one nobody would take them, and a new one begins with all that is wanted.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) pending: Vec<Arc<str>>,
    pub(super) leaving: Vec<Arc<str>>,
    /// Channels that Redis was asked to end, and how often, until it says so.
    pub(super) ending: HashMap<Arc<str>, u32>,
}

impl Changes {
    /// For a new connection.
    pub(super) fn all<'a>(wanted: impl Iterator<Item = &'a Arc<str>>) -> Self {
        Self { pending: wanted.cloned().collect(), ..Self::default() }
    }
}
