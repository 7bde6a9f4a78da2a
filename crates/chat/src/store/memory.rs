//! The in-process store.

mod kept;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_protocol::Position;

use super::{Created, Error, Noted, Reader, Store};
use crate::model::{Message, Room, UserProfile, View};
use crate::options::{Bounds, Options};
use kept::Kept;

/// Places of messages in all rooms together, shared among them evenly: 32 bytes each. A message whose place is not remembered is looked for in
/// the history, and a user who has not read for so long has fewer unread messages than were sent.
const PLACES: usize = 1_000_000;

/// Participations in all rooms together: a room of thousands in thousands of rooms would fill the memory.
const SEATS: usize = 200_000;

/// One node's store, within the process. What it holds is gone with it.
pub struct Memory {
    bounds: Bounds,
    /// Messages whose place is remembered, of each room.
    size: usize,
    /// How long after the last one.
    ttl: Duration,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    rooms: HashMap<String, Kept>,
    /// The direct room of two users, who are in the order of their ids.
    pairs: HashMap<[String; 2], String>,
    /// The rooms of each user.
    seats: HashMap<String, BTreeSet<String>>,
    /// How many there are of all users together.
    taken: usize,
    users: BTreeMap<String, UserProfile>,
}

impl Memory {
    /// An empty store.
    pub fn new(options: &Options) -> Self {
        let size = usize::try_from(options.messages.size).unwrap_or(usize::MAX);
        Self { bounds: options.bounds, size, ttl: options.messages.ttl, inner: Mutex::default() }
    }
}

#[async_trait]
impl Store for Memory {
    async fn create(&self, room: &Room) -> Result<Created, Error> {
        let mut inner = self.inner.lock();
        let pair = pair(room);
        if let Some(there) = pair.as_ref().and_then(|pair| inner.pairs.get(pair)) {
            return Ok(Created { room: there.clone(), new: false });
        }
        if inner.rooms.len() >= self.bounds.rooms {
            return Err(Error::Full("rooms"));
        }
        if room.participants.len() > self.bounds.participants {
            return Err(Error::RoomFull);
        }
        for user in &room.participants {
            inner.check_seats(user, self.bounds.rooms_per_user, room.participants.len())?;
        }
        for user in &room.participants {
            inner.seat(&room.id, user);
            inner.meet(user, self.bounds.users);
        }
        if let Some(pair) = pair {
            inner.pairs.insert(pair, room.id.clone());
        }
        inner.rooms.insert(room.id.clone(), Kept::new(room.clone()));
        Ok(Created { room: room.id.clone(), new: true })
    }

    async fn room(&self, room: &str, user: Option<&str>) -> Result<Option<View>, Error> {
        let mut inner = self.inner.lock();
        Ok(inner.rooms.get_mut(room).map(|kept| kept.fresh(self.ttl).view(user)))
    }

    async fn rooms(&self, user: &str) -> Result<Vec<View>, Error> {
        let mut inner = self.inner.lock();
        let Inner { rooms, seats, .. } = &mut *inner;
        let ids = seats.get(user).into_iter().flatten();
        let mut views = Vec::new();
        for id in ids {
            views.extend(rooms.get_mut(id).map(|kept| kept.fresh(self.ttl).view(Some(user))));
        }
        views.sort_by(|a, b| b.active_at().cmp(a.active_at()));
        Ok(views)
    }

    async fn rooms_of(&self, user: &str) -> Result<Vec<String>, Error> {
        Ok(self.inner.lock().seats.get(user).into_iter().flatten().cloned().collect())
    }

    async fn seat(&self, room: &str, user: &str) -> Result<Option<bool>, Error> {
        Ok(self.inner.lock().rooms.get(room).map(|kept| kept.marks.contains_key(user)))
    }

    async fn add(&self, room: &str, user: &str) -> Result<Option<bool>, Error> {
        let mut inner = self.inner.lock();
        let Some(kept) = inner.rooms.get(room) else { return Ok(None) };
        if kept.marks.contains_key(user) {
            return Ok(Some(false));
        }
        if kept.marks.len() >= self.bounds.participants {
            return Err(Error::RoomFull);
        }
        inner.check_seats(user, self.bounds.rooms_per_user, 1)?;
        inner.seat(room, user);
        inner.meet(user, self.bounds.users);
        if let Some(kept) = inner.rooms.get_mut(room) {
            kept.add(user);
        }
        Ok(Some(true))
    }

    async fn remove(&self, room: &str, user: &str) -> Result<Option<bool>, Error> {
        let mut inner = self.inner.lock();
        let Some(kept) = inner.rooms.get_mut(room) else { return Ok(None) };
        let changed = kept.remove(user);
        inner.unseat(room, user);
        Ok(Some(changed))
    }

    async fn delete(&self, room: &str) -> Result<Option<Vec<Reader>>, Error> {
        let mut inner = self.inner.lock();
        let Some(mut kept) = inner.rooms.remove(room) else { return Ok(None) };
        for user in kept.marks.keys() {
            inner.unseat(room, user);
        }
        if let Some(pair) = pair(&kept.room) {
            inner.pairs.remove(&pair);
        }
        Ok(Some(kept.fresh(self.ttl).readers()))
    }

    async fn note(&self, place: Position, message: &Message) -> Result<Option<Noted>, Error> {
        let mut inner = self.inner.lock();
        let size = self.size.min(PLACES / inner.rooms.len().max(1));
        let kept = inner.rooms.get_mut(&message.room_id);
        Ok(kept.map(|kept| kept.fresh(self.ttl).note(place, message, size)))
    }

    async fn readers(&self, room: &str) -> Result<Option<Vec<Reader>>, Error> {
        let mut inner = self.inner.lock();
        Ok(inner.rooms.get_mut(room).map(|kept| kept.fresh(self.ttl).readers()))
    }

    async fn place(&self, room: &str, message: &str) -> Result<Option<Position>, Error> {
        let mut inner = self.inner.lock();
        Ok(inner.rooms.get_mut(room).and_then(|kept| kept.fresh(self.ttl).place(message)))
    }

    async fn read(&self, room: &str, user: &str, place: Option<Position>) -> Result<Option<u64>, Error> {
        let mut inner = self.inner.lock();
        Ok(inner.rooms.get_mut(room).and_then(|kept| kept.fresh(self.ttl).read(user, place)))
    }

    async fn unread(&self, user: &str) -> Result<bool, Error> {
        let mut inner = self.inner.lock();
        let Inner { rooms, seats, .. } = &mut *inner;
        let mut ids = seats.get(user).into_iter().flatten();
        Ok(ids.any(|id| rooms.get_mut(id).is_some_and(|kept| kept.fresh(self.ttl).unread(user) > 0)))
    }

    async fn meet(&self, user: &str) -> Result<(), Error> {
        self.inner.lock().meet(user, self.bounds.users);
        Ok(())
    }

    async fn users(&self) -> Result<Vec<UserProfile>, Error> {
        Ok(self.inner.lock().users.values().cloned().collect())
    }

    async fn profiles(&self, users: &[String]) -> Result<Vec<UserProfile>, Error> {
        let inner = self.inner.lock();
        let known = |id: &String| inner.users.get(id).cloned().unwrap_or_else(|| UserProfile::bare(id));
        Ok(users.iter().map(known).collect())
    }

    async fn set_profile(&self, profile: &UserProfile) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        inner.meet(&profile.id, self.bounds.users);
        let known = inner.users.get_mut(&profile.id).ok_or(Error::Full("users"))?;
        known.clone_from(profile);
        Ok(())
    }
}

impl Inner {
    /// Whether the user may have one room more, and all together `seats`.
    fn check_seats(&self, user: &str, most: usize, seats: usize) -> Result<(), Error> {
        if self.taken + seats > SEATS {
            return Err(Error::Full("participations"));
        }
        let full = self.seats.get(user).is_some_and(|rooms| rooms.len() >= most);
        if full { Err(Error::UserFull(user.into())) } else { Ok(()) }
    }

    fn seat(&mut self, room: &str, user: &str) {
        self.taken += usize::from(self.seats.entry(user.into()).or_default().insert(room.into()));
    }

    fn unseat(&mut self, room: &str, user: &str) {
        if let Some(rooms) = self.seats.get_mut(user) {
            self.taken -= usize::from(rooms.remove(room));
            if rooms.is_empty() {
                self.seats.remove(user);
            }
        }
    }

    fn meet(&mut self, user: &str, most: usize) {
        if self.users.len() < most && !self.users.contains_key(user) {
            self.users.insert(user.into(), UserProfile::bare(user));
        }
    }
}

/// Whose direct room it is, in the order of their ids.
fn pair(room: &Room) -> Option<[String; 2]> {
    let mut pair: [String; 2] = room.participants.clone().try_into().ok().filter(|_| room.direct)?;
    pair.sort();
    Some(pair)
}
