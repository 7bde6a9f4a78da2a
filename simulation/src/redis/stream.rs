//! Streams: XADD as the gateway writes it, XDEL, XRANGE and XREVRANGE.

use std::collections::VecDeque;

use super::keyspace::{Keyspace, Value, number, text, wrong_type};
use super::resp::{Bytes, Reply};

type Id = (u64, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    entries: VecDeque<Entry>,
    last: Id,
    /// The number of the newest node, and how many entries it was given.
    node: (u64, usize),
}

#[derive(Clone, Debug)]
struct Entry {
    id: Id,
    fields: Vec<Bytes>,
    node: u64,
}

/// One end of a range.
struct Bound {
    id: Id,
    inclusive: bool,
}

impl Stream {
    /// The last field of each entry.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Bytes> {
        self.entries.iter().filter_map(|entry| entry.fields.last())
    }

    fn add(&mut self, id: Id, fields: &[Bytes], most: usize, node: usize) -> Result<(), Reply> {
        if id <= self.last {
            return Err(Reply::error(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
            ));
        }
        self.last = id;
        // Deleted entries take their place in a node for as long as others are in it.
        let (newest, given) = self.node;
        let room = given < node && self.entries.back().is_some_and(|entry| entry.node == newest);
        self.node = if room { (newest, given + 1) } else { (newest + 1, 1) };
        self.entries.push_back(Entry { id, fields: fields.to_vec(), node: self.node.0 });
        self.trim(most);
        Ok(())
    }

    /// Whole nodes go, for as long as enough is left.
    fn trim(&mut self, most: usize) {
        while self.entries.len() > most {
            let oldest = self.entries[0].node;
            let count = self.entries.partition_point(|entry| entry.node == oldest);
            if self.entries.len() - count < most {
                return;
            }
            self.entries.drain(..count);
        }
    }

    fn remove(&mut self, id: Id) -> bool {
        let at = self.entries.binary_search_by_key(&id, |entry| entry.id);
        at.is_ok_and(|at| self.entries.remove(at).is_some())
    }
}

impl Keyspace {
    /// `XADD key MAXLEN ~ n id field value`.
    pub(super) fn xadd(&mut self, args: &[Bytes]) -> Result<Reply, Reply> {
        let [_, key, maxlen, about, most, given, fields @ ..] = args else { return Err(syntax()) };
        if maxlen != b"MAXLEN" || about != b"~" || fields.is_empty() || !fields.len().is_multiple_of(2) {
            return Err(Reply::error("ERR this form of XADD is not modelled"));
        }
        let (most, id, node) = (number(most)? as usize, id(given, 0)?, self.stream_node.max(1));
        if id == (0, 0) {
            return Err(Reply::error("ERR The ID specified in XADD must be greater than 0-0"));
        }
        let existed = self.get(key).is_some();
        let added = match self.entry(key, Value::Stream(Stream::default())) {
            Value::Stream(stream) => stream.add(id, fields, most, node),
            _ => Err(wrong_type()),
        };
        if added.is_err() && !existed {
            self.remove(key);
        }
        added.map(|()| Reply::text(&shown(id)))
    }

    pub(super) fn xdel(&mut self, args: &[Bytes]) -> Result<Reply, Reply> {
        let stream = match self.value(&args[1]) {
            None => None,
            Some(Value::Stream(stream)) => Some(stream),
            Some(_) => return Err(wrong_type()),
        };
        let ids = args[2..].iter().map(|given| id(given, 0)).collect::<Result<Vec<_>, _>>();
        let Some(stream) = stream else { return Ok(Reply::Int(0)) };
        Ok(Reply::Int(ids?.into_iter().filter(|id| stream.remove(*id)).count() as i64))
    }

    /// `XRANGE key from to [COUNT n]`, and from the other end.
    pub(super) fn xrange(&mut self, args: &[Bytes], down: bool) -> Result<Reply, Reply> {
        let [_, key, first, second, rest @ ..] = args else { return Err(syntax()) };
        let limit = match rest {
            [] => usize::MAX,
            [count, limit] if count.eq_ignore_ascii_case(b"COUNT") => number(limit)?.max(0) as usize,
            _ => return Err(syntax()),
        };
        let (from, to) = if down { (second, first) } else { (first, second) };
        let (from, to) = (bound(from, 0)?, bound(to, u64::MAX)?);
        if (!from.inclusive && from.id == (u64::MAX, u64::MAX)) || (!to.inclusive && to.id == (0, 0)) {
            return Err(Reply::error("ERR invalid ID for the interval"));
        }
        let entries = match self.value(key) {
            None => return Ok(Reply::Array(Vec::new())),
            Some(Value::Stream(stream)) => &stream.entries,
            Some(_) => return Err(wrong_type()),
        };
        if limit == 0 {
            return Ok(Reply::Nil);
        }
        let start =
            entries.partition_point(|Entry { id, .. }| *id < from.id || (*id == from.id && !from.inclusive));
        let end = entries.partition_point(|Entry { id, .. }| *id < to.id || (*id == to.id && to.inclusive));
        let within = entries.range(start..end.max(start));
        Ok(Reply::Array(if down {
            within.rev().take(limit).map(shown_entry).collect()
        } else {
            within.take(limit).map(shown_entry).collect()
        }))
    }
}

fn shown_entry(entry: &Entry) -> Reply {
    let fields = entry.fields.iter().cloned().map(Reply::Bulk).collect();
    Reply::Array(vec![Reply::text(&shown(entry.id)), Reply::Array(fields)])
}

fn shown((first, second): Id) -> String {
    format!("{first}-{second}")
}

fn bound(given: &[u8], rest: u64) -> Result<Bound, Reply> {
    Ok(match given {
        b"-" => Bound { id: (0, 0), inclusive: true },
        b"+" => Bound { id: (u64::MAX, u64::MAX), inclusive: true },
        [b'(', given @ ..] => Bound { id: id(given, rest)?, inclusive: false },
        given => Bound { id: id(given, rest)?, inclusive: true },
    })
}

/// `rest`: the second part, where it is left out.
fn id(given: &[u8], rest: u64) -> Result<Id, Reply> {
    let invalid = || Reply::error("ERR Invalid stream ID specified as stream command argument");
    let (first, second) = match text(given).split_once('-') {
        Some((first, second)) => (first, Some(second)),
        None => (text(given), None),
    };
    let first = first.parse().map_err(|_| invalid())?;
    let second = second.map_or(Ok(rest), |second| second.parse().map_err(|_| invalid()))?;
    Ok((first, second))
}

fn syntax() -> Reply {
    Reply::error("ERR syntax error")
}
