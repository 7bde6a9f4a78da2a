//! What is known of rooms besides their messages, written down as a trait with its promises.
//!
//! [`Memory`] keeps them for one node, [`Redis`] for a cluster. Both pass the same [`contract`] suite.

#[cfg(feature = "contract")]
pub mod contract;
mod memory;
mod redis;

use async_trait::async_trait;
use tidegate_protocol::Position;

use crate::model::{Message, Room, UserProfile, View};

pub use memory::Memory;
pub use redis::Redis;

/// Rooms, who takes part in them, where each message is, who has read how far, and users.
///
/// A room that is not used for [`Bounds::room_ttl`](crate::Bounds::room_ttl) (no message, no read
/// mark, no new participant) is forgotten whole. So is a user who has not called, and was not put
/// into a room, for [`Bounds::user_ttl`](crate::Bounds::user_ttl).
///
/// Every call is one step: all of it happens or, on an error of the caller's making, nothing. Whoever asks at the same time, on whatever node,
/// comes before or after.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes a room. For a direct one, the same pair in either order has one room: a second call
    /// gives the first's. Participants are remembered as users, while there is room for them: they
    /// may take half of the places, the rest is for callers.
    ///
    /// Its maker is bounded by the rooms made, its other participants by the rooms that they are
    /// in: what others do never keeps users from making rooms.
    async fn create(&self, room: &Room) -> Result<Created, Error>;

    /// A room as `user` sees it, or as nobody in particular does.
    async fn room(&self, room: &str, user: Option<&str>) -> Result<Option<View>, Error>;

    /// The user's rooms, the one in which something happened last first.
    async fn rooms(&self, user: &str) -> Result<Vec<View>, Error>;

    /// The ids of the user's rooms, in no order.
    async fn rooms_of(&self, user: &str) -> Result<Vec<String>, Error>;

    /// Whether the user takes part, and how many do; `None`: there is no such room.
    async fn seat(&self, room: &str, user: &str) -> Result<Option<Seat>, Error>;

    /// Adds a participant, for whom everything up to here is read. True if that changed anything; `None`: there is no such room.
    async fn add(&self, room: &str, user: &str) -> Result<Option<bool>, Error>;

    /// Removes a participant. True if that changed anything; `None`: there is no such room.
    async fn remove(&self, room: &str, user: &str) -> Result<Option<bool>, Error>;

    /// Forgets a room. Gives who took part; `None`: there was none.
    async fn delete(&self, room: &str) -> Result<Option<Vec<Reader>>, Error>;

    /// Remembers where a message is, and that its sender has read so far. Noting it again changes nothing. `None`: there is no such room.
    ///
    /// A place of another epoch than the last one: what was known of places before is worth nothing, and is dropped.
    async fn note(&self, place: Position, message: &Message) -> Result<Option<Noted>, Error>;

    /// The participants, and whether each has something unread; `None`: there is no such room.
    async fn readers(&self, room: &str) -> Result<Option<Vec<Reader>>, Error>;

    /// The place of a message. Messages that history has dropped may still have one.
    async fn place(&self, room: &str, message: &str) -> Result<Option<Position>, Error>;

    /// Sets the user's mark behind the room's newest message, or behind `place` if that is further. Gives what is still
    /// unread there; `None`: the user takes no part.
    async fn read(&self, room: &str, user: &str, place: Option<Position>) -> Result<Option<u64>, Error>;

    /// Whether anything is unread in any of the user's rooms.
    async fn unread(&self, user: &str) -> Result<bool, Error>;

    /// Remembers a user. One more than there is room for is not remembered.
    async fn meet(&self, user: &str) -> Result<(), Error>;

    /// Every user, by id.
    async fn users(&self) -> Result<Vec<UserProfile>, Error>;

    /// What is known of these users, in their order.
    async fn profiles(&self, users: &[String]) -> Result<Vec<UserProfile>, Error>;

    /// Says who a user is.
    async fn set_profile(&self, profile: &UserProfile) -> Result<(), Error>;
}

/// What became of a wish for a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The room's id: the one wished for, or of the room that was there.
    pub room: String,
    /// It was not there before.
    pub new: bool,
}

/// A user's place in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The user takes part.
    pub taken: bool,
    /// How many users do.
    pub participants: usize,
}

/// A participant, and how far along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The user's id.
    pub user: String,
    /// Something in the room is unread.
    pub unread: bool,
}

/// What whoever tells the participants of a message needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The room's name.
    pub name: String,
    /// Whether it is a room of two.
    pub direct: bool,
    /// See [`Room::relation_type`].
    pub relation_type: String,
    /// The participants.
    pub readers: Vec<Reader>,
    /// Its sender had something unread in the room, and has read it by answering.
    pub caught_up: bool,
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store can't be reached, did not answer in time, or answered something that this version does not understand.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The room has as many participants as it may.
    #[error("the room has as many participants as allowed")]
    RoomFull,
    /// The user is in as many rooms as allowed.
    #[error("{0:?} takes part in as many rooms as allowed")]
    UserFull(String),
    /// The user has made as many rooms as allowed.
    #[error("{0:?} has made as many rooms as allowed")]
    MakerFull(String),
    /// There are as many rooms as the store may hold.
    #[error("the limit on rooms is reached")]
    RoomsFull,
    /// There are as many users as the store may hold.
    #[error("the limit on users is reached")]
    UsersFull,
}

/// The settings that bound what is kept.
pub(crate) const LIMITS: [&str; 5] =
    ["chat.participants", "chat.rooms", "chat.rooms_made", "chat.rooms_total", "chat.users"];

impl Error {
    /// The setting that was reached.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        let [participants, rooms, made, total, users] = LIMITS;
        match self {
            Self::Unavailable(_) => None,
            Self::RoomFull => Some(participants),
            Self::UserFull(_) => Some(rooms),
            Self::MakerFull(_) => Some(made),
            Self::RoomsFull => Some(total),
            Self::UsersFull => Some(users),
        }
    }
}
