//! What this node knows of a topic: its subscribers and its recent events.

mod state;

pub(crate) use state::Channel;
