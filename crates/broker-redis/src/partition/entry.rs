use std::sync::Arc;

use tidegate_protocol::{Offset, Topic};

/// A topic that this node wants.
pub(super) struct Entry {
    /// This very name, not an equal one: it tells the entry from an earlier one of a topic that was
    /// let go and is wanted again.
    channel: Arc<str>,
    pub(super) topic: Topic,
    /// Every stored event of the topic up to here is behind us: handed on, or from before the
    /// subscription.
    pub(super) last: Offset,
    /// Redis has confirmed the subscription once. From then on nothing may be missed, whatever
    /// happens to the connection.
    pub(super) confirmed: bool,
}

impl Entry {
    pub(super) fn new(channel: Arc<str>, topic: Topic) -> Self {
        Self { channel, topic, last: 0, confirmed: false }
    }

    pub(super) fn is(&self, channel: &Arc<str>) -> bool {
        Arc::ptr_eq(&self.channel, channel)
    }
}
