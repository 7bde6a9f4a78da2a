//! The seats of all schedules: look, decide, write, announce.

use std::sync::Arc;

use tidegate_broker::Broker;
use tidegate_tasks::Tasks;
use tokio::sync::Mutex;

use crate::Options;
use crate::announce::sweep;
use crate::model::{Act, Change, Refusal, Seat, Status, decide};
use crate::place::{Place, Schedule};
use crate::store::{self, Store, Version};

/// The seats of all schedules.
pub struct Seats {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) options: Options,
    pub(crate) turns: [Mutex<()>; 64],
}

/// Why a user does not have the seat.
#[derive(Clone, Debug)]
pub enum Error {
    /// The rules say no.
    Refused(Refusal),
    /// The store can't say.
    Store(store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Seats {
    /// Seats in `store` whose changes are announced over `broker`. Must be called on a runtime: it
    /// starts the one of the node's `tasks` that ends holds.
    pub fn start(
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
        options: Options,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let (every, turns) = (options.sweep, std::array::from_fn(|_| Mutex::default()));
        let seats = Arc::new(Self { store, broker, options, turns });
        tasks.spawn("seats sweep", sweep(Arc::clone(&seats), every));
        seats
    }

    /// Every seat of a schedule, in order. Only those that were changed are stored: an untouched schedule costs nothing.
    pub async fn all(&self, schedule: &Schedule) -> Result<Vec<Seat>, store::Error> {
        let (changed, now) = self.store.changed(schedule).await?;
        let mut seats: Vec<_> =
            (1..=self.options.seats).map(|number| Seat { number, status: Status::Available }).collect();
        for seat in changed {
            if let Some(place) = seats.get_mut(seat.number.wrapping_sub(1) as usize) {
                place.status = seat.status.at(now);
            }
        }
        Ok(seats)
    }

    /// A seat as `viewer` is shown it; [`NOBODY`](store::NOBODY): as everybody is.
    pub(crate) fn shown(&self, seat: Seat, viewer: &str) -> Seat {
        if self.options.show_holders { seat } else { seat.seen_by(viewer) }
    }

    /// A seat's number, as it stands in a path: plain decimal.
    pub fn number(&self, text: &str) -> Option<u32> {
        let number = text.parse().ok().filter(|number| (1..=self.options.seats).contains(number))?;
        (number.to_string() == text).then_some(number)
    }

    /// Does what `user` asks for, if the rules allow it, and gives the seat as it then is. If that is a change, it has been announced, or
    /// will be by whoever can: it is written down.
    pub async fn act(&self, place: &Place, user: &str, act: Act) -> Result<Seat, Error> {
        let (seat, version) = self.change(place, user, act).await?;
        if let Some(version) = version {
            self.announce(&place.schedule, version).await;
        }
        Ok(seat)
    }

    /// The same, without the announcement; with the version if it is a change.
    ///
    /// Of two who ask for the same at once one writes first. The other finds that the seat is no longer as it was and looks again. So each
    /// round that fails is a change that somebody else has made, and nobody ever waits for a node that took a lock and died.
    pub(crate) async fn change(
        &self,
        place: &Place,
        user: &str,
        act: Act,
    ) -> Result<(Seat, Option<Version>), Error> {
        let seat = |status| Seat { number: place.number, status };
        loop {
            let sight = self.store.look(place, user).await?;
            let status = decide(act, user, &sight, &self.options.rules()).map_err(|reason| {
                Error::Refused(Refusal { seat: seat(sight.status.at(sight.now)), reason })
            })?;
            if status == sight.status {
                return Ok((seat(status), None));
            }
            let change = Change { seat: seat(status), timestamp: sight.now };
            if let Some(version) = self.store.write(place, user, &sight, &change).await? {
                return Ok((change.seat, Some(version)));
            }
        }
    }
}
