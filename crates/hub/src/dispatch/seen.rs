use parking_lot::Mutex;
use tidegate_protocol::{Cursor, MAX_PARTITIONS, Partition, Position};

/// How far this node has handed on each partition.
///
/// Moved only after an event was given to every subscriber of its topic: one whose outbox is empty
/// has been sent everything up to here.
#[derive(Default)]
pub(crate) struct Seen(Mutex<[Option<Position>; MAX_PARTITIONS as usize]>);

impl Seen {
    pub(crate) fn advance(&self, partition: Partition, position: Position) {
        let mut all = self.0.lock();
        let known = &mut all[partition.index()];
        match known {
            Some(old) if old.epoch == position.epoch && old.offset >= position.offset => {}
            _ => *known = Some(position),
        }
    }

    pub(crate) fn get(&self, partition: Partition) -> Option<Position> {
        self.0.lock()[partition.index()]
    }

    /// The cursor moved on to what has been seen, if that is further.
    pub(crate) fn refresh(&self, cursor: &Cursor) -> Option<Cursor> {
        let all = *self.0.lock();
        let mut moved = None;
        for (partition, old) in cursor.iter() {
            if let Some(new) =
                all[partition.index()].filter(|new| new.epoch == old.epoch && new.offset > old.offset)
            {
                moved.get_or_insert_with(|| cursor.clone()).set(partition, new);
            }
        }
        moved
    }
}
