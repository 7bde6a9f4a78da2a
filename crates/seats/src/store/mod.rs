//! What the seats ask of a store: to show, to change what is still as shown, and to hand out what has to be announced.

mod memory;
mod redis;

use async_trait::async_trait;

use crate::model::{Change, Millis, Seat, Sight};
use crate::place::{Place, Schedule};

pub use self::memory::Memory;
pub use self::redis::Redis;

/// Changes of one schedule that may wait for being announced. They wait only while the broker takes none, so nearly never; when there are
/// this many, further changes are refused: better no seat than a seat map that is wrong for minutes.
pub(crate) const OUTBOX: usize = 10_000;

/// Whose name nobody has: for looking at a seat without a user.
pub(crate) const NOBODY: &str = "";

/// A number that grows with every change in the store.
pub type Version = u64;

/// Keeps seats and their outboxes. It knows no rules.
///
/// A change is written together with its announcement, in one step. What was written is announced, sooner or later, by whatever node is
/// alive: nobody can see the one without getting the other.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The seats of a schedule that were ever changed, in no order, and what time it is.
    async fn changed(&self, schedule: &Schedule) -> Result<(Vec<Seat>, Millis), Error>;

    /// What a decision about a seat depends on. `user` may be [`NOBODY`].
    async fn look(&self, place: &Place, user: &str) -> Result<Sight, Error>;

    /// Writes a change down and puts it into the schedule's outbox, if all is still as `sight` shows. `None`: it is not; look again.
    ///
    /// A schedule without a held or reserved seat takes no place among the
    /// [`Options::schedules`](crate::Options::schedules).
    async fn write(
        &self,
        place: &Place,
        user: &str,
        sight: &Sight,
        change: &Change,
    ) -> Result<Option<Version>, Error>;

    /// Takes everything up to `announced` out of the outbox, and gives the change that is then its first: its version and its JSON.
    async fn next(&self, schedule: &Schedule, announced: Version)
    -> Result<Option<(Version, String)>, Error>;

    /// What there is to do for whoever has time, each list of at most `most`.
    async fn chores(&self, most: usize) -> Result<Chores, Error>;
}

/// What nobody has done so far.
#[derive(Debug, Default)]
pub struct Chores {
    /// Seats whose hold is over.
    pub due: Vec<Place>,
    /// Schedules with something in their outbox.
    pub waiting: Vec<Schedule>,
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It can't be asked. For the log: it may name hosts.
    #[error("{0}")]
    Unavailable(String),
    /// The schedule's outbox is full.
    #[error("too many changes of the schedule wait for being announced")]
    Outbox,
    /// As many schedules as there may be have seats that are held or reserved.
    #[error("too many schedules have seats that are held or reserved")]
    Schedules,
}
