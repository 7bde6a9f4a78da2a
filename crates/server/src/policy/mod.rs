//! What is allowed: topics by namespace, events by rate, streams by address and rate, bodies by
//! memory.

mod admission;
mod body_memory;
mod namespaces;
mod publish_rate;

pub use admission::Options as AdmissionOptions;
#[cfg(feature = "fuzzing")]
pub(crate) use admission::address::client as client_address;
pub(crate) use admission::{Admission, Refused};
pub(crate) use body_memory::{BodyMemory, Share};
pub use namespaces::{Namespace, Namespaces, Policy};
pub(crate) use publish_rate::PublishRate;
