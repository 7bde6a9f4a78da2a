//! From the broker's deliveries to the subscribers.

mod flush;
mod run;
mod seen;

pub(crate) use run::run;
pub(crate) use seen::Seen;
