//! HTTP: listeners, routes, transports and errors.
//!
//! A library takes a listener and a shutdown: it binds nothing, reads no environment and catches no signal.

#[path = "policy/admission/mod.rs"]
mod admission;
mod app;
mod application;
#[path = "extract/body.rs"]
mod body;
#[path = "extract/caller.rs"]
mod caller;
#[path = "../../transport/src/connection.rs"]
mod connection;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[path = "../../transport/src/http2.rs"]
mod h2;
#[path = "../../transport/src/http3/mod.rs"]
pub mod h3;
#[path = "../../transport/src/takeover.rs"]
mod io;
mod metrics;
mod options;
#[path = "../../transport/src/poll.rs"]
mod poll;
mod problem;
#[path = "extract/query.rs"]
mod query;
#[path = "policy/publish_rate.rs"]
mod rate;
mod receive;
mod routes;
#[path = "extract/path.rs"]
mod segment;
#[path = "../../transport/src/accept.rs"]
mod serve;
#[path = "../../transport/src/respond.rs"]
mod stream;
#[path = "../../transport/src/tls/mod.rs"]
pub mod tls;
#[path = "../../transport/src/unread.rs"]
mod unread;
#[path = "../../transport/src/request/unreadable.rs"]
mod unreadable;
#[path = "../../transport/src/socket/detached.rs"]
mod wire;
#[path = "../../transport/src/websocket/mod.rs"]
mod ws;

pub use admission::Options as AdmissionOptions;
pub use app::App;
pub use application::{Application, Opening};
pub use body::Body;
pub use caller::Caller;
pub use metrics::Metrics;
pub use options::{Limits, Namespace, Namespaces, Options, Policy};
pub use problem::Problem;
pub use query::Query;
pub use receive::last_event_id;
pub use routes::{admin, public, stream, wait};
pub use segment::Segment;
pub use serve::{Connections, Listener, Shutdown, serve};
