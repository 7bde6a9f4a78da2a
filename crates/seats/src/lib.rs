//! Seats: look at those of a schedule, hold one for a while, reserve it for good, and see at once what others do, whatever node they are on.
//!
//! The smallest whole application on the gateway. Read it in this order:
//!
//! 1. [`model`]: what a seat is and what becomes of it, one table of rules without any I/O;
//! 2. [`store`]: what keeps seats, in this process or in Redis;
//! 3. `seats`: look, decide, write, and again if somebody was quicker;
//! 4. `announce`: how each change reaches every stream once, in order, also if a node dies in the middle;
//! 5. `routes`: HTTP.

mod announce;
pub mod model;
mod options;
mod place;
mod routes;
mod seats;
pub mod store;

pub use options::Options;
pub use place::{Place, Schedule};
pub use routes::application;
pub use seats::{Error, Seats};
