//! What a model of Redis keeps: the kinds of values that the gateway uses, with their ends.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::resp::{Bytes, Reply};
use super::stream::Stream;

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
    Set(BTreeSet<Bytes>),
    Stream(Stream),
}

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) value: Value,
    pub(super) expires: Option<Instant>,
}

/// All keys of one server. A clone is what a replica or a file has.
#[derive(Clone, Debug, Default)]
pub struct Keyspace {
    keys: BTreeMap<Bytes, Kept>,
    /// Entries in one node of a stream: `MAXLEN ~` drops whole nodes only.
    pub stream_node: usize,
}

impl Keyspace {
    pub fn new(stream_node: usize) -> Self {
        Self { keys: BTreeMap::new(), stream_node }
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Option<&mut Kept> {
        let over = self.keys.get(key)?.expires.is_some_and(|at| at <= Instant::now());
        if over {
            self.keys.remove(key);
        }
        self.keys.get_mut(key)
    }

    pub(super) fn value(&mut self, key: &[u8]) -> Option<&mut Value> {
        self.get(key).map(|kept| &mut kept.value)
    }

    /// The key's value, or a new one in its place.
    pub(super) fn entry(&mut self, key: &[u8], new: Value) -> &mut Value {
        if self.get(key).is_none() {
            self.put(key, new, None);
        }
        &mut self.keys.get_mut(key).expect("just put there").value
    }

    pub(super) fn put(&mut self, key: &[u8], value: Value, expires: Option<Instant>) {
        self.keys.insert(key.to_vec(), Kept { value, expires });
    }

    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.get(key).is_some() && self.keys.remove(key).is_some()
    }

    /// The names of all keys, in order.
    pub fn names(&self) -> Vec<String> {
        self.keys.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// What a stream's entries have in their last field.
    pub fn messages(&self, key: &str) -> Vec<&Bytes> {
        match self.keys.get(key.as_bytes()).map(|kept| &kept.value) {
            Some(Value::Stream(stream)) => stream.messages().collect(),
            _ => Vec::new(),
        }
    }

    /// A hash's field.
    pub fn field(&self, key: &str, field: &str) -> Option<&Bytes> {
        match self.keys.get(key.as_bytes()).map(|kept| &kept.value)? {
            Value::Hash(hash) => hash.get(field.as_bytes()),
            _ => None,
        }
    }

    /// A string.
    pub fn text(&self, key: &str) -> Option<&Bytes> {
        match self.keys.get(key.as_bytes()).map(|kept| &kept.value)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

pub(super) fn wrong_type() -> Reply {
    Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value")
}

pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("?")
}

pub(super) fn number(bytes: &[u8]) -> Result<i64, Reply> {
    text(bytes).parse().map_err(|_| Reply::error("ERR value is not an integer or out of range"))
}
