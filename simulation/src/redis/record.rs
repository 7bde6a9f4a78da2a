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
    /// The highest number that a primary has given in a partition.
    highest: BTreeMap<u8, u64>,
    /// A number was lost: given by a server that was no primary any more, or before a primary with
    /// older data.
    pub lost: bool,
    /// An epoch was lost: begun in one primary, and not known to the next.
    pub forgotten: bool,
    /// The primary's epochs.
    current: BTreeMap<u8, Bytes>,
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
        let added = std::mem::take(&mut self.servers[server].added);
        if server == self.current {
            for (partition, counter) in self.counters() {
                self.record.highest.insert(partition, counter);
            }
        } else {
            self.record.lost |= !added.is_empty();
        }
        for (key, mut message) in added {
            message.truncate(KEPT);
            self.record.stored.push(Stored { server, at: Instant::now(), key, message });
        }
        let epochs = self.epochs(server);
        for (partition, epoch) in &epochs {
            let began = self.record.epochs.entry(*partition).or_default().insert(epoch.clone());
            if began && server != self.current {
                // The primary will never know.
                self.record.forgotten = true;
                self.record.lost |= !self.record.current.contains_key(partition);
            }
        }
        if server == self.current {
            self.record.current = epochs;
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

    /// Another primary, or the same with other data.
    pub(super) fn compare(&mut self) {
        for (partition, counter) in self.counters() {
            let before = self.record.highest.insert(partition, counter);
            self.record.lost |= before.is_some_and(|before| before > counter);
        }
        let epochs = self.epochs(self.current);
        let before = std::mem::replace(&mut self.record.current, epochs);
        // Whatever knows of no epoch has lost its place.
        self.record.lost |= before.keys().any(|partition| !self.record.current.contains_key(partition));
        self.record.forgotten |= before != self.record.current;
    }

    /// The last number that the primary has given in each partition.
    fn counters(&self) -> BTreeMap<u8, u64> {
        let db = &self.servers[self.current].db;
        let number = |bytes: &Bytes| text(bytes).parse().unwrap_or(0);
        let counter = |partition| {
            let place = db.field(&format!("tg:{{{partition}}}:place"), "counter").map_or(0, number);
            place.max(db.text(&format!("tg:{{{partition}}}:offset")).map_or(0, number))
        };
        (0..self.partitions).map(|partition| (partition, counter(partition))).collect()
    }

    /// How many epochs each partition has had.
    pub fn epochs_begun(&self) -> BTreeMap<u8, usize> {
        self.record.epochs.iter().map(|(partition, epochs)| (*partition, epochs.len())).collect()
    }
}
