//! One room of the in-process store.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tidegate_protocol::{Epoch, Offset, Position};
use uuid::Uuid;

use crate::model::{Message, Room, View};
use crate::store::{Noted, Reader};

pub(super) struct Kept {
    pub(super) room: Room,
    /// How far each participant has read.
    pub(super) marks: HashMap<String, Offset>,
    /// What offsets here belong to; `None` before the first message.
    epoch: Option<Epoch>,
    /// Where each message is, oldest first: those that count as unread, and the others.
    index: [VecDeque<(Offset, Uuid)>; 2],
    last: Option<(Offset, Message)>,
    noted: Instant,
    /// When it was last used.
    touched: Instant,
}

/// Which index holds the messages that count.
const COUNTED: usize = 1;

impl Kept {
    pub(super) fn new(room: Room) -> Self {
        let marks = room.participants.iter().map(|user| (user.clone(), 0)).collect();
        let now = Instant::now();
        Self { room, marks, epoch: None, index: Default::default(), last: None, noted: now, touched: now }
    }

    pub(super) fn idle(&self) -> Duration {
        self.touched.elapsed()
    }

    /// The room, which is used.
    pub(super) fn touch(&mut self) -> &mut Self {
        self.touched = Instant::now();
        self
    }

    /// The room without what has expired.
    pub(super) fn fresh(&mut self, ttl: Duration) -> &mut Self {
        if self.noted.elapsed() >= ttl {
            self.index = Default::default();
        }
        self
    }

    pub(super) fn view(&self, user: Option<&str>) -> View {
        View {
            room: self.room.clone(),
            last_message: self.last.as_ref().map(|(_, message)| message.clone()),
            unread_count: user.map_or(0, |user| self.unread(user)),
        }
    }

    pub(super) fn unread(&self, user: &str) -> u64 {
        let Some(mark) = self.marks.get(user) else { return 0 };
        let counted = &self.index[COUNTED];
        (counted.len() - counted.partition_point(|(offset, _)| offset <= mark)) as u64
    }

    pub(super) fn readers(&self) -> Vec<Reader> {
        let reader = |user: &String| Reader { user: user.clone(), unread: self.unread(user) > 0 };
        self.room.participants.iter().map(reader).collect()
    }

    pub(super) fn add(&mut self, user: &str) {
        self.room.participants.push(user.into());
        self.marks.insert(user.into(), self.newest());
    }

    pub(super) fn remove(&mut self, user: &str) -> bool {
        self.room.participants.retain(|participant| participant != user);
        self.marks.remove(user).is_some()
    }

    pub(super) fn note(&mut self, place: Position, message: &Message, size: usize) -> Noted {
        self.turn(place.epoch);
        let caught_up = self.unread(&message.sender_id) > 0;
        let index = &mut self.index[usize::from(message.counts())];
        let at = index.partition_point(|(offset, _)| *offset < place.offset);
        if index.get(at).is_none_or(|(offset, _)| *offset != place.offset) {
            index.insert(at, (place.offset, Uuid::try_parse(&message.id).unwrap_or_default()));
            let excess = index.len().saturating_sub(size);
            index.drain(..excess);
            self.noted = Instant::now();
        }
        if self.last.as_ref().is_none_or(|(offset, _)| *offset < place.offset) {
            self.last = Some((place.offset, message.clone()));
        }
        self.mark(&message.sender_id, place.offset);
        Noted {
            name: self.room.name.clone(),
            direct: self.room.direct,
            relation_type: self.room.relation_type.clone(),
            readers: self.readers(),
            caught_up,
        }
    }

    pub(super) fn place(&self, message: &str) -> Option<Position> {
        let message = Uuid::try_parse(message).ok()?;
        // Asked rarely, and newest first: who asks has mostly been here lately.
        let found = |index: &VecDeque<(Offset, Uuid)>| {
            index.iter().rev().find(|(_, id)| *id == message).map(|(offset, _)| *offset)
        };
        let offset = self.index.iter().find_map(found)?;
        Some(Position { epoch: self.epoch?, offset })
    }

    pub(super) fn read(&mut self, user: &str, place: Option<Position>) -> Option<u64> {
        if let Some(place) = place {
            self.turn(place.epoch);
        }
        let mark = self.newest().max(place.map_or(0, |place| place.offset));
        self.mark(user, mark)?;
        self.touch();
        Some(self.unread(user))
    }

    fn newest(&self) -> Offset {
        self.index.iter().filter_map(VecDeque::back).map(|(offset, _)| *offset).max().unwrap_or_default()
    }

    fn mark(&mut self, user: &str, offset: Offset) -> Option<()> {
        let mark = self.marks.get_mut(user)?;
        *mark = offset.max(*mark);
        Some(())
    }

    /// Another life of the counter: what was numbered in the former one is worth nothing.
    fn turn(&mut self, epoch: Epoch) {
        if self.epoch.replace(epoch).is_some_and(|known| known != epoch) {
            self.index = Default::default();
            self.marks.values_mut().for_each(|mark| *mark = 0);
            if let Some((offset, _)) = &mut self.last {
                *offset = 0;
            }
        }
    }
}
