//! What happens: the order of steps, and who is told.
//!
//! Every change of several steps runs in a task of its own: a client that leaves in the midst of it leaves nothing half done. Where a crash does,
//! the next one who comes by mends it.

mod people;
mod reading;
mod rooms;
mod sending;
mod streams;

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_broker::Broker;
use tidegate_hub::Manner;
use tidegate_protocol::Topic;
use tidegate_server::{App, Caller, Problem};

use crate::options::Options;
use crate::store::{Error, Store};
use crate::topics;

pub(crate) use people::ProfileWish;
pub(crate) use reading::{Messages, Want};
pub(crate) use rooms::RoomWish;
pub(crate) use sending::{MessageWish, Sent};

/// Users that a node knows to be remembered by the store.
const MET: usize = 10_000;

/// The chat of one node.
pub(crate) struct Chat {
    pub(crate) options: Options,
    app: App,
    store: Arc<dyn Store>,
    /// Whom the store need not be told of again.
    met: Mutex<HashSet<String>>,
    room_manner: Arc<Manner>,
    user_manner: Arc<Manner>,
}

impl Chat {
    pub(crate) fn new(app: App, options: Options, store: Arc<dyn Store>) -> Self {
        let age = app.hub().options().max_age;
        let aged = |timeout: std::time::Duration| if timeout.is_zero() { age } else { Some(timeout) };
        let room_manner = Manner {
            greeting: None,
            heartbeat: options.room_heartbeat,
            style: options.room_heartbeat_style.clone(),
            max_age: aged(options.room_timeout),
        };
        let user_manner = Manner {
            greeting: options.greeting.clone(),
            heartbeat: options.user_heartbeat,
            style: options.user_heartbeat_style.clone(),
            max_age: aged(options.user_timeout),
        };
        let (room_manner, user_manner) = (Arc::new(room_manner), Arc::new(user_manner));
        Self { options, app, store, met: Mutex::default(), room_manner, user_manner }
    }

    fn broker(&self) -> &Arc<dyn Broker> {
        self.app.broker()
    }

    /// Lets in who takes part in the room, and administrators. Gives the user who does; `None`: it is an administrator from outside.
    pub(crate) async fn admit<'a>(&self, caller: &'a Caller, room: &str) -> Result<Option<&'a str>, Problem> {
        topics::room(room)?;
        let user = caller.identity.user.as_deref();
        if user.is_none() && !caller.is_admin() {
            caller.user()?;
        }
        match (self.store.seat(room, user.unwrap_or_default()).await?, user) {
            (None, _) => Err(no_room()),
            (Some(true), Some(user)) => Ok(Some(user)),
            (Some(_), _) if caller.is_admin() => Ok(None),
            (Some(_), _) => Err(outsider()),
        }
    }

    /// The user that calls, who may be new.
    pub(crate) async fn meet<'a>(&self, caller: &'a Caller) -> Result<&'a str, Problem> {
        let user = caller.user()?;
        topics::user("userId", user)?;
        if !self.met.lock().contains(user) {
            self.store.meet(user).await?;
            let mut met = self.met.lock();
            if met.len() >= MET {
                met.clear();
            }
            met.insert(user.into());
        }
        Ok(user)
    }

    /// Makes the broker's membership what the store says, whoever else changes it at the same time: the last to look sees the last change.
    /// Where it ends, so do the user's streams of the room.
    async fn settle(&self, room: &str, topic: &Topic, user: &str) -> Result<(), Problem> {
        let own = topics::user("userId", user)?;
        let mut takes_part = self.takes_part(room, user).await?;
        loop {
            let set = self.broker().set_membership(&own, topic, takes_part).await;
            set.map_err(|error| Problem::from(error).with("userId", user))?;
            let now = self.takes_part(room, user).await?;
            if now == takes_part {
                return Ok(());
            }
            takes_part = now;
        }
    }

    async fn takes_part(&self, room: &str, user: &str) -> Result<bool, Problem> {
        Ok(self.store.seat(room, user).await? == Some(true))
    }
}

/// Does all of it, also when the client has left.
pub(crate) async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(Problem::internal()))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(details) => {
                // They name hosts and ports: they are for the log.
                tracing::warn!(%details, "the chat's store failed");
                Self::unavailable("The store can't be reached just now. Try again.")
            }
            Error::Full(_) => Self::unavailable(format!("{error}. Some have to go before another can come.")),
            Error::RoomFull | Error::UserFull(_) => Self::conflict(format!("{error}.")),
        }
    }
}

fn no_room() -> Problem {
    Problem::not_found("There is no such room.")
}

fn outsider() -> Problem {
    Problem::forbidden(Some("roomId"), "Only participants may do this. One of them can add you.")
}
