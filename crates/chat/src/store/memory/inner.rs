//! All rooms and users of the in-process store, and how many there may be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::kept::Kept;
use crate::model::{Room, UserProfile};
use crate::options::Bounds;
use crate::store::{Created, Error};

/// Participations in all rooms together: a room of thousands in thousands of rooms would fill the
/// memory. Then no room can be made.
const SEATS: usize = 200_000;

/// Rooms at most, whatever the settings say: a process has less memory than a Redis that was sized
/// for it.
const ROOMS: usize = 10_000;

/// How often rooms and users that nobody uses are looked for. Those that are asked for are found to
/// be gone at once.
const SWEEP: Duration = Duration::from_secs(60);

pub(super) struct Inner {
    pub(super) bounds: Bounds,
    pub(super) rooms: HashMap<String, Kept>,
    /// The direct room of two users, who are in the order of their ids.
    pairs: HashMap<[String; 2], String>,
    /// The rooms of each user.
    seats: HashMap<String, BTreeSet<String>>,
    /// How many there are of all users together.
    taken: usize,
    /// How many rooms each user has made.
    made: HashMap<String, usize>,
    /// What is known of each, and when the user was last seen.
    pub(super) users: BTreeMap<String, (UserProfile, Instant)>,
    swept: Instant,
}

impl Inner {
    pub(super) fn new(mut bounds: Bounds) -> Self {
        bounds.rooms = bounds.rooms.min(ROOMS);
        Self {
            bounds,
            rooms: HashMap::new(),
            pairs: HashMap::new(),
            seats: HashMap::new(),
            taken: 0,
            made: HashMap::new(),
            users: BTreeMap::new(),
            swept: Instant::now(),
        }
    }

    /// The room, unless it was not used for so long that it is gone.
    pub(super) fn room(&mut self, room: &str) -> Option<&mut Kept> {
        if self.rooms.get(room)?.idle() >= self.bounds.room_ttl {
            self.forget(room);
        }
        self.rooms.get_mut(room)
    }

    pub(super) fn rooms_of(&mut self, user: &str) -> Vec<String> {
        let ids: Vec<String> = self.seats.get(user).into_iter().flatten().cloned().collect();
        ids.into_iter().filter(|id| self.room(id).is_some()).collect()
    }

    pub(super) fn create(&mut self, room: &Room) -> Result<Created, Error> {
        let pair = pair(room);
        if let Some(there) = pair.as_ref().and_then(|pair| self.pairs.get(pair)).cloned()
            && self.room(&there).is_some()
        {
            return Ok(Created { room: there, new: false });
        }
        if room.participants.len() > self.bounds.participants {
            return Err(Error::RoomFull);
        }
        self.sweep(room.participants.len());
        let maker = room.created_by.as_deref();
        if let Some(maker) = maker.filter(|maker| self.made(maker) >= self.bounds.rooms_made) {
            return Err(Error::MakerFull(maker.into()));
        }
        for user in room.participants.iter().filter(|user| Some(user.as_str()) != maker) {
            self.check_seats(user)?;
        }
        if !self.takes(1, room.participants.len()) {
            return Err(Error::RoomsFull);
        }
        for user in &room.participants {
            self.seat(&room.id, user);
            self.meet(user, self.bounds.users / 2);
        }
        if let Some(pair) = pair {
            self.pairs.insert(pair, room.id.clone());
        }
        if let Some(maker) = maker {
            *self.made.entry(maker.into()).or_default() += 1;
        }
        self.rooms.insert(room.id.clone(), Kept::new(room.clone()));
        Ok(Created { room: room.id.clone(), new: true })
    }

    pub(super) fn add(&mut self, room: &str, user: &str) -> Result<Option<bool>, Error> {
        let most = self.bounds.participants;
        let Some(kept) = self.room(room) else { return Ok(None) };
        if kept.marks.contains_key(user) {
            return Ok(Some(false));
        }
        if kept.marks.len() >= most {
            return Err(Error::RoomFull);
        }
        self.sweep(1);
        self.check_seats(user)?;
        if !self.takes(0, 1) {
            return Err(Error::RoomsFull);
        }
        self.seat(room, user);
        self.meet(user, self.bounds.users / 2);
        if let Some(kept) = self.room(room) {
            kept.touch().add(user);
        }
        Ok(Some(true))
    }

    /// Whether `rooms` more rooms and `seats` more participations fit in.
    fn takes(&self, rooms: usize, seats: usize) -> bool {
        self.rooms.len() + rooms <= self.bounds.rooms && self.taken + seats <= SEATS
    }

    /// Forgets what was not used for its time: now and then, and when there is no room for another
    /// one with that many `seats`.
    fn sweep(&mut self, seats: usize) {
        if self.takes(1, seats) && self.swept.elapsed() < SWEEP {
            return;
        }
        self.swept = Instant::now();
        let ttl = self.bounds.room_ttl;
        let idle: Vec<String> =
            self.rooms.iter().filter(|(_, kept)| kept.idle() >= ttl).map(|(id, _)| id.clone()).collect();
        for room in idle {
            self.forget(&room);
        }
    }

    pub(super) fn forget(&mut self, room: &str) -> Option<Kept> {
        let kept = self.rooms.remove(room)?;
        for user in kept.marks.keys() {
            self.unseat(room, user);
        }
        if let Some(pair) = pair(&kept.room) {
            self.pairs.remove(&pair);
        }
        if let Some(maker) = &kept.room.created_by
            && let Some(made) = self.made.get_mut(maker)
        {
            *made -= 1;
            if *made == 0 {
                self.made.remove(maker);
            }
        }
        Some(kept)
    }

    /// Rooms that the user has made and that are still there.
    fn made(&mut self, user: &str) -> usize {
        let count = self.made.get(user).copied().unwrap_or_default();
        if count < self.bounds.rooms_made {
            return count;
        }
        let of = |kept: &Kept| kept.room.created_by.as_deref() == Some(user);
        let made: Vec<String> =
            self.rooms.iter().filter(|(_, kept)| of(kept)).map(|(id, _)| id.clone()).collect();
        made.iter().filter(|id| self.room(id).is_some()).count()
    }

    /// Whether the user may be put into one room more.
    fn check_seats(&mut self, user: &str) -> Result<(), Error> {
        let most = self.bounds.rooms_per_user;
        let full = self.seats.get(user).is_some_and(|rooms| rooms.len() >= most);
        if full && self.rooms_of(user).len() >= most { Err(Error::UserFull(user.into())) } else { Ok(()) }
    }

    fn seat(&mut self, room: &str, user: &str) {
        self.taken += usize::from(self.seats.entry(user.into()).or_default().insert(room.into()));
    }

    pub(super) fn unseat(&mut self, room: &str, user: &str) {
        if let Some(rooms) = self.seats.get_mut(user) {
            self.taken -= usize::from(rooms.remove(room));
            if rooms.is_empty() {
                self.seats.remove(user);
            }
        }
    }

    /// Remembers the user, if there are fewer than `most`.
    pub(super) fn meet(&mut self, user: &str, most: usize) -> Option<&mut UserProfile> {
        let ttl = self.bounds.user_ttl;
        self.users.retain(|_, (_, seen)| seen.elapsed() < ttl);
        if self.users.len() >= most && !self.users.contains_key(user) {
            return None;
        }
        let bare = || (UserProfile::bare(user), Instant::now());
        let (profile, seen) = self.users.entry(user.into()).or_insert_with(bare);
        *seen = Instant::now();
        Some(profile)
    }
}

/// Whose direct room it is, in the order of their ids.
fn pair(room: &Room) -> Option<[String; 2]> {
    let mut pair: [String; 2] = room.participants.clone().try_into().ok().filter(|_| room.direct)?;
    pair.sort();
    Some(pair)
}
