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
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_broker::Broker;
use tidegate_hub::StreamOverrides;
use tidegate_protocol::Topic;
use tidegate_server::{App, Caller, Problem};

use crate::options::Options;
use crate::store::{Error, Seat, Store};
use crate::topics;

pub(crate) use people::ProfileWish;
pub(crate) use reading::{Messages, Want};
pub(crate) use rooms::RoomWish;
pub(crate) use sending::{MessageWish, Sent};

/// Users that a node knows to be remembered by the store.
const MET: usize = 10_000;

/// For how long. A fraction of the day that [`Bounds::user_ttl`](crate::Bounds::user_ttl) is at
/// least.
const MET_FOR: Duration = Duration::from_secs(3_600);

/// A caller who may see a room.
pub(crate) struct Admitted<'a> {
    /// The participant who calls; `None`: an administrator from outside.
    pub(crate) user: Option<&'a str>,
    /// How many there are. A message becomes an event for each of them.
    pub(crate) participants: usize,
}

/// The chat of one node.
pub(crate) struct Chat {
    pub(crate) options: Options,
    app: App,
    store: Arc<dyn Store>,
    /// Users that the store need not be told of again, and since when they are collected: the store
    /// has to know who is still there.
    met: Mutex<(Instant, HashSet<String>)>,
    room_overrides: Arc<StreamOverrides>,
    user_overrides: Arc<StreamOverrides>,
}

impl Chat {
    pub(crate) fn new(app: App, options: Options, store: Arc<dyn Store>) -> Self {
        let age = app.hub().options().max_age;
        let aged = |timeout: Duration| if timeout.is_zero() { age } else { Some(timeout) };
        let room_overrides = StreamOverrides {
            greeting: None,
            heartbeat: options.room_heartbeat,
            style: options.room_heartbeat_style.clone(),
            max_age: aged(options.room_timeout),
        };
        let user_overrides = StreamOverrides {
            greeting: options.greeting.clone(),
            heartbeat: options.user_heartbeat,
            style: options.user_heartbeat_style.clone(),
            max_age: aged(options.user_timeout),
        };
        let (room_overrides, user_overrides) = (Arc::new(room_overrides), Arc::new(user_overrides));
        Self {
            options,
            app,
            store,
            met: Mutex::new((Instant::now(), HashSet::new())),
            room_overrides,
            user_overrides,
        }
    }

    fn broker(&self) -> &Arc<dyn Broker> {
        self.app.broker()
    }

    /// Lets in participants of the room, and administrators.
    pub(crate) async fn admit<'a>(&self, caller: &'a Caller, room: &str) -> Result<Admitted<'a>, Problem> {
        topics::room(room)?;
        let user = caller.identity.user.as_deref();
        if user.is_none() && !caller.is_admin() {
            caller.user()?;
        }
        match (self.store.seat(room, user.unwrap_or_default()).await?, user) {
            (None, _) => Err(no_room()),
            (Some(Seat { taken: true, participants }), Some(user)) => {
                Ok(Admitted { user: Some(user), participants })
            }
            (Some(seat), _) if caller.is_admin() => {
                Ok(Admitted { user: None, participants: seat.participants })
            }
            (Some(_), _) => Err(outsider()),
        }
    }

    /// The user that calls, who may be new.
    pub(crate) async fn meet<'a>(&self, caller: &'a Caller) -> Result<&'a str, Problem> {
        let user = caller.user()?;
        topics::user("userId", user)?;
        let known = {
            let (since, met) = &*self.met.lock();
            since.elapsed() < MET_FOR && met.contains(user)
        };
        if !known {
            self.store.meet(user).await?;
            let (since, met) = &mut *self.met.lock();
            if met.len() >= MET || since.elapsed() >= MET_FOR {
                met.clear();
                *since = Instant::now();
            }
            met.insert(user.into());
        }
        Ok(user)
    }

    /// What the store refused because a limit was reached is counted.
    fn refused(&self, error: Error) -> Problem {
        match error.limit() {
            Some(limit) => self.app.refused_by(limit, error.into()),
            None => error.into(),
        }
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
        Ok(self.store.seat(room, user).await?.is_some_and(|seat| seat.taken))
    }
}

/// Does all of it, also when the client has left.
pub(crate) async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    // Short-lived: the work of one request, whose deadlines are the store's and the broker's.
    tokio::spawn(work).await.unwrap_or_else(|_| Err(Problem::internal()))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(details) => {
                // They name hosts and ports: they are for the log.
                tracing::warn!(%details, "the chat's store failed");
                Self::unavailable("The store can't be reached. Try again.")
            }
            Error::RoomsFull => Self::full(
                "The limit on rooms is reached. Delete one, or try again when idle rooms are forgotten.",
            ),
            Error::UsersFull => Self::full("The limit on users is reached until idle users are forgotten."),
            Error::RoomFull => Self::conflict("The room has as many participants as allowed."),
            Error::UserFull(_) => Self::conflict(format!("{error}.")),
            Error::MakerFull(_) => Self::conflict(format!("{error}. Delete one first.")),
        }
    }
}

fn no_room() -> Problem {
    Problem::not_found("There is no such room.")
}

fn outsider() -> Problem {
    Problem::forbidden(Some("roomId"), "Only participants may do this. One of them can add you.")
}
