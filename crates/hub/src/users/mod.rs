//! Users: their streams on this node, and what changes while these are open.

mod control;
pub(crate) mod resync;

pub(crate) use control::User;
