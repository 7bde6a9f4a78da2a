//! Streams: XADD as the gateway writes it, XRANGE and XREVRANGE.

use std::collections::VecDeque;

use super::keyspace::{Keyspace, Value, number, text, wrong_type};
use super::resp::{Bytes, Reply};

type Id = (u64, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    entries: VecDeque<(Id, Vec<Bytes>)>,
    last: Id,
}

/// One end of a range.
struct Bound {
    id: Id,
    inclusive: bool,
}

impl Stream {
    pub(super) fn holds(&self, part: &[u8]) -> bool {
        let has = |field: &Bytes| field.windows(part.len()).any(|window| window == part);
        self.entries.iter().any(|(_, fields)| fields.last().is_some_and(has))
    }

    fn add(&mut self, id: Id, fields: &[Bytes], most: usize, node: usize) -> Result<(), Reply> {
        if id <= self.last {
            return Err(Reply::error(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
            ));
        }
        self.last = id;
        self.entries.push_back((id, fields.to_vec()));
        while self.entries.len() >= most + node {
            self.entries.drain(..node);
        }
        Ok(())
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
        let entries = match self.value(key) {
            None => return Ok(Reply::Array(Vec::new())),
            Some(Value::Stream(stream)) => &stream.entries,
            Some(_) => return Err(wrong_type()),
        };
        if limit == 0 {
            return Ok(Reply::Nil);
        }
        let start = entries.partition_point(|(id, _)| *id < from.id || (*id == from.id && !from.inclusive));
        let end = entries.partition_point(|(id, _)| *id < to.id || (*id == to.id && to.inclusive));
        let within = entries.range(start..end.max(start));
        Ok(Reply::Array(if down {
            within.rev().take(limit).map(entry).collect()
        } else {
            within.take(limit).map(entry).collect()
        }))
    }
}

fn entry((id, fields): &(Id, Vec<Bytes>)) -> Reply {
    let fields = fields.iter().cloned().map(Reply::Bulk).collect();
    Reply::Array(vec![Reply::text(&shown(*id)), Reply::Array(fields)])
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
