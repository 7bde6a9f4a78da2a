//! What runs inside Redis, and how its answers are read.

use redis::{Cmd, Script, Value};
use tidegate_broker::Error;
use tidegate_protocol::{Epoch, Offset, Partition, Position};

use crate::connect::unexpected;
use crate::keys::Keys;

const HEAD: &str = include_str!("scripts/head.lua");
const RENEW: &str = include_str!("scripts/renew.lua");
pub(crate) const READ: &str = include_str!("scripts/read.lua");
pub(crate) const CONTROL: &str = include_str!("scripts/control.lua");
pub(crate) const WINDOW: &str = include_str!("scripts/window.lua");
const PUBLISH: &str = include_str!("scripts/publish.lua");

/// The publish script: it runs for every event, so it is loaded once and called by its hash.
pub(crate) fn publish() -> Script {
    Script::new(PUBLISH)
}

/// Loads the publish script.
pub(crate) fn load_publish() -> Cmd {
    let mut command = redis::cmd("SCRIPT");
    command.arg("LOAD").arg(PUBLISH);
    command
}

/// A call of one of the rarer scripts, with its text: there is nothing that Redis could have forgotten.
///
/// The first two keys are the partition's epoch and counter, the first argument an epoch for when there is none.
pub(crate) fn eval(code: &str, keys: &Keys, partition: Partition, others: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(code).arg(2 + others.len()).arg(keys.epoch(partition)).arg(keys.counter(partition));
    command.arg(others).arg(new_epoch().as_str());
    command
}

/// Asks where a partition stands. Makes its epoch if there is none.
pub(crate) fn head(keys: &Keys, partition: Partition) -> Cmd {
    eval(HEAD, keys, partition, &[])
}

/// Ends an epoch, if it is still the current one.
pub(crate) fn renew(keys: &Keys, partition: Partition, old: Epoch) -> Cmd {
    let mut command = eval(RENEW, keys, partition, &[]);
    command.arg(old.as_str());
    command
}

/// An epoch for a counter that has none yet.
pub(crate) fn new_epoch() -> Epoch {
    Epoch::from_random(rand::random())
}

/// Reads the answer of [`head`] and [`renew`].
pub(crate) fn position(answer: &Value) -> Result<Position, Error> {
    let Value::Array(parts) = answer else {
        return Err(failure(answer, "where a partition stands"));
    };
    match parts.as_slice() {
        [epoch, offset, ..] => Ok(Position { epoch: epoch_of(epoch)?, offset: offset_of(offset)? }),
        _ => Err(unexpected("where a partition stands")),
    }
}

pub(crate) fn epoch_of(value: &Value) -> Result<Epoch, Error> {
    let text = match value {
        Value::BulkString(bytes) => bytes.as_slice(),
        Value::SimpleString(text) => text.as_bytes(),
        other => return Err(failure(other, "an epoch")),
    };
    Epoch::parse(text).ok_or_else(|| unexpected("the epoch's key holds something else"))
}

pub(crate) fn offset_of(value: &Value) -> Result<Offset, Error> {
    match value {
        Value::Int(number) => Offset::try_from(*number).map_err(|_| unexpected("a negative number")),
        other => Err(failure(other, "a number")),
    }
}

/// The error that an answer is, or that it is not what was `expected`.
pub(crate) fn failure(answer: &Value, expected: &str) -> Error {
    match answer {
        // Redis' own words: `OOM command not allowed …`, `LOADING …`, `READONLY …`.
        Value::ServerError(error) => {
            let (code, details) = (error.code(), error.details().unwrap_or_default());
            Error::Unavailable(format!("Redis refused: {code} {details}").trim_end().into())
        }
        _ => unexpected(&format!("{expected} was expected")),
    }
}
