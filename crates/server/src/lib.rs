//! HTTP: listeners, routes, transports and errors.
//!
//! A library takes a listener and a shutdown: it binds nothing, reads no environment and catches no signal.

mod admission;
mod app;
mod application;
mod body;
mod caller;
mod connection;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod h2;
pub mod h3;
mod io;
mod metrics;
mod options;
mod poll;
mod problem;
mod query;
mod rate;
mod receive;
mod routes;
mod segment;
mod serve;
mod stream;
pub mod tls;
mod unread;
mod unreadable;
mod wire;
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
