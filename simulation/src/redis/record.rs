//! What any server has ever done that oracles ask about, whatever became of its data.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::resp::Bytes;
use super::site::State;

/// Bytes of a stored message that are kept: an event's place and number are among them.
const KEPT: usize = 160;

#[derive(Default)]
pub struct Record {
    pub stored: Vec<Stored>,
    /// The epochs that a partition has had, anywhere: where each began, and how far it counted.
    epochs: BTreeMap<u8, BTreeMap<Bytes, Span>>,
    /// Some number was lost when a server took over.
    lost: bool,
}

#[derive(Clone, Copy)]
struct Span {
    begin: u64,
    last: u64,
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
        for (partition, (epoch, span)) in self.epochs(server) {
            let epochs = self.record.epochs.entry(partition).or_default();
            let known = epochs.entry(epoch).or_insert(span);
            known.last = known.last.max(span.last);
        }
    }

    /// The epochs of a server's partitions.
    fn epochs(&self, server: usize) -> BTreeMap<u8, (Bytes, Span)> {
        let db = &self.servers[server].db;
        let number = |text: Option<&Bytes>| text.and_then(|text| super::keyspace::text(text).parse().ok());
        let epoch = |partition| {
            let place = format!("tg:{{{partition}}}:place");
            let field = |name| db.field(&place, name);
            let epoch = field("epoch").or_else(|| db.text(&format!("tg:{{{partition}}}:epoch"))).cloned()?;
            let last = field("counter").or_else(|| db.text(&format!("tg:{{{partition}}}:offset")));
            let (begin, last) = (number(field("begin")).unwrap_or(0), number(last).unwrap_or(0));
            Some((epoch, Span { begin, last }))
        };
        (0..self.partitions).filter_map(|partition| Some((partition, epoch(partition)?))).collect()
    }

    /// Whether a number that was given is not among those that led to where the primary is: an
    /// event's, or that of a word about a user.
    pub fn any_number_lost(&self) -> bool {
        self.record.lost || self.is_behind()
    }

    /// A server has become the primary, or begins again: what it does not have is lost at this
    /// moment, whatever another one brings back.
    pub fn note_losses(&mut self) {
        self.record.lost |= self.is_behind();
    }

    fn is_behind(&self) -> bool {
        let db = &self.servers[self.current].db;
        self.record.epochs.iter().any(|(partition, epochs)| {
            let place = format!("tg:{{{partition}}}:place");
            let field = |name| {
                super::keyspace::text(db.field(&place, name).map_or(&[][..], Vec::as_slice)).to_owned()
            };
            let (epoch, counter, line) = (field("epoch"), field("counter"), field("line"));
            let ends: BTreeMap<&str, i64> = line
                .split(' ')
                .filter_map(|ended| {
                    let mut parts = ended.split(':');
                    Some((parts.next()?, parts.nth(1)?.parse().ok()?))
                })
                .collect();
            epochs.iter().filter(|(_, span)| span.last > span.begin).any(|(name, span)| {
                let name = super::keyspace::text(name);
                let kept = match name == epoch {
                    true => counter.parse().unwrap_or(0),
                    false => ends.get(&*name).copied().unwrap_or(-1),
                };
                i64::try_from(span.last).unwrap_or(i64::MAX) > kept
            })
        })
    }

    /// How many epochs each partition has had.
    pub fn epochs_begun(&self) -> BTreeMap<u8, usize> {
        self.record.epochs.iter().map(|(partition, epochs)| (*partition, epochs.len())).collect()
    }
}
