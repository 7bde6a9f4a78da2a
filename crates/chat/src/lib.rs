//! Chat on the gateway: rooms, messages, who has read what, and the notifications about it.
//!
//! A message is an event of its room's topic, `$chat:ROOM`: the broker stores and sends it, and a room's stream is an ordinary stream of the
//! gateway that resumes like any other. What a topic does not hold (who takes part, which message is where, who has read how far) is
//! the [`store::Store`]'s. The store is the truth about who takes part; the broker's memberships follow it.

mod model;
mod notify;
mod options;
mod routes;
mod service;
pub mod store;
mod topics;

use std::sync::Arc;

use tidegate_server::{App, Application};

pub use model::{Message, MessageType, Room, UserProfile, View};
pub use options::{Bounds, Options};

use service::Chat;
use store::Store;

/// The application, to be mounted on a node: its routes, with everything they need.
pub fn application(app: App, options: Options, store: Arc<dyn Store>) -> Application {
    app.count_refusals_by(&store::LIMITS);
    routes::application(app.clone(), Arc::new(Chat::new(app, options, store)))
}
