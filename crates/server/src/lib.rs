//! The HTTP API: routes, what they read from a request, what they allow, and how they say no.
//!
//! It gives [`tidegate_transport`] a router to serve, and what a WebSocket's client says an answer.

mod app;
mod application;
mod extract;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
mod options;
mod policy;
mod problem;
mod publish;
mod receive;
mod routes;
mod websocket;

pub use app::App;
pub use application::{Application, Opening};
pub use extract::{Body, Caller, Query, Segment};
pub use metrics::Metrics;
pub use options::{Limits, Options};
pub use policy::{AdmissionOptions, Namespace, Namespaces, Policy};
pub use problem::Problem;
pub use receive::last_event_id;
pub use routes::{admin, advertise, public, stream, wait};
