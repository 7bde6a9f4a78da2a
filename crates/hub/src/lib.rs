//! Who receives what on this node.
//!
//! The hub owns the loop that takes deliveries from the broker and hands each to the subscribers of
//! its topic. A subscriber is one receiving stream with a bounded outbox; a transport holds its
//! [handle](SubscriberHandle), polls it and writes what it gets.
//!
//! Each part owns its fields, and knows only those below it:
//!
//! | part | |
//! |---|---|
//! | `hub` | the public face |
//! | `handle` | the transport's end of a stream |
//! | `catch_up` | opening a stream, and changing its topics |
//! | `history_memory` | how much of what is stored is on its way to streams and answers |
//! | `wheel` | heartbeats, ages, expiries and the drain |
//! | `dispatch` | the loop, and how far it has come |
//! | `subscriber` | one receiving stream, and the registry of all |
//! | `topics`, `users` | whose subscribers are where; they don't know what a subscriber is |
//!
//! Locks are taken in one order: a topic's, then a subscriber's. Neither is held across an
//! `.await`, and no map guard is held while a lock is waited for, but where topics are let go,
//! which says why.

mod catch_up;
mod change;
mod clock;
mod close_reason;
mod control_events;
mod dispatch;
mod handle;
mod history_memory;
mod hub;
mod item;
mod join;
mod metrics;
mod options;
mod subscriber;
mod topics;
mod users;
mod wheel;

pub use close_reason::CloseReason;
pub use control_events::ControlEvent;
pub use handle::{SinkHandle, SubscriberHandle, Watch};
pub use hub::Hub;
pub use join::{Error, Join, Resume, Scope};
pub use metrics::Metrics;
pub use options::{Greeting, Heartbeat, Options, StreamOverrides};
pub use subscriber::{Batch, Chunk, Flushed, Sink};
