//! For one node: a map behind a lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Chores, Error, OUTBOX, Store, Version};
use crate::Options;
use crate::model::{Change, Millis, Seat, Sight, Status, millis};
use crate::place::{Place, Schedule};

/// Seats within the process; they are gone with it.
pub struct Memory {
    keep: Duration,
    schedules: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    version: Version,
    schedules: HashMap<Schedule, House>,
}

#[derive(Default)]
struct House {
    seats: BTreeMap<u32, (Version, Status)>,
    outbox: VecDeque<(Version, String)>,
    changed: Millis,
}

impl Memory {
    /// An empty store. A schedule is forgotten [`Options::keep`] after its last change.
    pub fn new(options: &Options) -> Self {
        Self { keep: options.keep, schedules: options.schedules, state: Mutex::default() }
    }
}

impl State {
    /// Drops schedules of which nothing is held or reserved, or that nothing has happened in for
    /// too long.
    fn forget(&mut self, keep: Duration, now: Millis) {
        let keep = keep.as_millis() as Millis;
        self.schedules.retain(|_, house| {
            !house.outbox.is_empty() || (!house.seats.is_empty() && house.changed.saturating_add(keep) > now)
        });
    }

    fn sight(&self, place: &Place, user: &str, now: Millis) -> Sight {
        let house = self.schedules.get(&place.schedule);
        let (version, status) =
            house.and_then(|house| house.seats.get(&place.number)).cloned().unwrap_or((0, Status::Available));
        let mine = |status: &Status| matches!(status.at(now), Status::Held { by, .. } if by == user);
        let holds = house.map_or(0, |house| house.seats.values().filter(|seat| mine(&seat.1)).count());
        Sight { status, version, holds: holds as u32, now }
    }
}

#[async_trait]
impl Store for Memory {
    async fn changed(&self, schedule: &Schedule) -> Result<(Vec<Seat>, Millis), Error> {
        let state = self.state.lock();
        let seats = state.schedules.get(schedule).into_iter().flat_map(|house| &house.seats);
        let seats = seats.map(|(number, (_, status))| Seat { number: *number, status: status.clone() });
        Ok((seats.collect(), now()))
    }

    async fn look(&self, place: &Place, user: &str) -> Result<Sight, Error> {
        Ok(self.state.lock().sight(place, user, now()))
    }

    async fn write(
        &self,
        place: &Place,
        user: &str,
        sight: &Sight,
        change: &Change,
    ) -> Result<Option<Version>, Error> {
        let text = serde_json::to_string(change).map_err(|error| Error::Unavailable(error.to_string()))?;
        let mut state = self.state.lock();
        let still = state.sight(place, user, sight.now);
        if (still.version, still.holds) != (sight.version, sight.holds) {
            return Ok(None);
        }
        if !state.schedules.contains_key(&place.schedule) && state.schedules.len() >= self.schedules {
            state.forget(self.keep, sight.now);
            if state.schedules.len() >= self.schedules {
                return Err(Error::Schedules);
            }
        }
        let version = state.version + 1;
        let house = state.schedules.entry(place.schedule.clone()).or_default();
        if house.outbox.len() >= OUTBOX {
            return Err(Error::Outbox);
        }
        match &change.seat.status {
            Status::Available => house.seats.remove(&place.number),
            status => house.seats.insert(place.number, (version, status.clone())),
        };
        house.outbox.push_back((version, text));
        house.changed = change.timestamp;
        state.version = version;
        Ok(Some(version))
    }

    async fn next(
        &self,
        schedule: &Schedule,
        announced: Version,
    ) -> Result<Option<(Version, String)>, Error> {
        let mut state = self.state.lock();
        let Some(house) = state.schedules.get_mut(schedule) else { return Ok(None) };
        while house.outbox.front().is_some_and(|(version, _)| *version <= announced) {
            house.outbox.pop_front();
        }
        Ok(house.outbox.front().cloned())
    }

    async fn chores(&self, most: usize) -> Result<Chores, Error> {
        let (mut state, now, mut chores) = (self.state.lock(), now(), Chores::default());
        state.forget(self.keep, now);
        for (schedule, house) in &state.schedules {
            if !house.outbox.is_empty() {
                chores.waiting.push(schedule.clone());
            }
            let over = house.seats.iter().filter(|(_, seat)| seat.1 != seat.1.at(now));
            chores.due.extend(over.map(|(number, _)| Place { schedule: schedule.clone(), number: *number }));
        }
        chores.due.truncate(most);
        chores.waiting.truncate(most);
        Ok(chores)
    }
}

fn now() -> Millis {
    millis(SystemTime::now())
}
