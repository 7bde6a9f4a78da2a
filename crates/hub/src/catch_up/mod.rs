//! Opening a stream, and changing its topics: what was missed first, then live events.

mod history;
mod opening;
mod resume_plan;
pub(crate) mod watermark;

pub(crate) use history::{Flights, Found};
pub use opening::{Error, Join, Resume, Scope};
