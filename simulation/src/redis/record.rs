//! What any server has ever done that oracles ask about, whatever became of its data.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::keyspace::text;
use super::resp::Bytes;
use super::site::State;

/// Bytes of a stored message that are kept: an event's place and number are among them.
const KEPT: usize = 160;

#[derive(Default)]
pub struct Record {
    pub stored: Vec<Stored>,
    /// The epochs that a partition has had, anywhere.
    epochs: BTreeMap<u8, BTreeSet<Bytes>>,
}

/// An entry of a stream, as it was written first.
pub struct Stored {
    pub server: usize,
    pub at: Instant,
    pub key: Bytes,
    pub message: Bytes,
}

impl State {
    /// Notes what a server has done with its last command.
    pub(super) fn record(&mut self, server: usize) {
        for (key, mut message) in std::mem::take(&mut self.servers[server].added) {
            message.truncate(KEPT);
            self.record.stored.push(Stored { server, at: Instant::now(), key, message });
        }
        for (partition, epoch) in self.epochs(server) {
            self.record.epochs.entry(partition).or_default().insert(epoch);
        }
    }

    /// The epochs of a server's partitions.
    fn epochs(&self, server: usize) -> BTreeMap<u8, Bytes> {
        let db = &self.servers[server].db;
        let epoch = |partition| {
            let place = db.field(&format!("tg:{{{partition}}}:place"), "epoch");
            place.or_else(|| db.text(&format!("tg:{{{partition}}}:epoch"))).cloned()
        };
        (0..self.partitions).filter_map(|partition| Some((partition, epoch(partition)?))).collect()
    }

    /// The last number that the primary has given in a partition.
    pub fn counter(&self, partition: u8) -> u64 {
        let db = &self.servers[self.current].db;
        let place = db.field(&format!("tg:{{{partition}}}:place"), "counter");
        let older = db.text(&format!("tg:{{{partition}}}:offset"));
        let number = |bytes: &Bytes| text(bytes).parse().unwrap_or(0);
        place.map_or(0, number).max(older.map_or(0, number))
    }

    /// How many epochs each partition has had.
    pub fn epochs_begun(&self) -> BTreeMap<u8, usize> {
        self.record.epochs.iter().map(|(partition, epochs)| (*partition, epochs.len())).collect()
    }
}
