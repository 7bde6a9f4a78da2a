//! What runs inside Redis, and how its answers are read.

use std::sync::LazyLock;

use redis::{Cmd, Script, Value};
use tidegate_broker::Error;
use tidegate_protocol::{Epoch, Offset, Partition, Position};

use crate::connect::unexpected;
use crate::errors::{Kind, Refusal};
use crate::keys::Keys;

/// What a script's text is made of: the check of the caller's epoch, and the script itself.
macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(crate) static $name: LazyLock<String> = LazyLock::new(|| {
            let prelude = include_str!("scripts/prelude.lua");
            [prelude, include_str!(concat!("scripts/", $file))].map(bare).concat()
        });
    };
}

script!(HEAD, "head.lua");
script!(READ, "read.lua");
script!(CONTROL, "control.lua");
script!(WINDOW, "window.lua");
script!(PUBLISH, "publish.lua");

static ENTER: LazyLock<String> = LazyLock::new(|| bare(include_str!("scripts/enter.lua")));

/// Without comments: the text goes over the wire.
fn bare(code: &str) -> String {
    let lines = code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The publish script: it runs for every event, so it is loaded once and called by its hash.
pub(crate) fn publish() -> Script {
    Script::new(&PUBLISH)
}

/// Loads the publish script.
pub(crate) fn load_publish() -> Cmd {
    let mut command = redis::cmd("SCRIPT");
    command.arg("LOAD").arg(PUBLISH.as_str());
    command
}

/// A call of one of the rarer scripts, with its text: there is nothing that Redis could have
/// forgotten. `epoch`: the one that this node has entered.
pub(crate) fn eval(code: &str, keys: &Keys, partition: Partition, epoch: Epoch, others: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(code).arg(3 + others.len()).arg(&keys.place(partition)).arg(others);
    command.arg(epoch.as_str()).arg("1");
    command
}

/// Asks where a partition stands.
pub(crate) fn head(keys: &Keys, partition: Partition, epoch: Epoch) -> Cmd {
    eval(&HEAD, keys, partition, epoch, &[])
}

/// Enters a partition. `sure`: this is the primary, though it may know less than the node.
pub(crate) fn enter(
    keys: &Keys,
    partition: Partition,
    sure: bool,
    entered: Option<Epoch>,
    evidence: &[(Epoch, Offset)],
) -> Cmd {
    let name = || Epoch::from_random(rand::random());
    let mut command = redis::cmd("EVAL");
    command.arg(ENTER.as_str()).arg(3).arg(&keys.place(partition)).arg(name().as_str()).arg(name().as_str());
    command.arg(keys.count()).arg(if sure { "1" } else { "0" });
    command.arg(entered.as_ref().map_or("", Epoch::as_str));
    for (epoch, offset) in evidence {
        command.arg(epoch.as_str()).arg(offset);
    }
    command
}

/// The word that a script ends with instead of an answer.
pub(crate) fn word(answer: &Value) -> Option<&[u8]> {
    match answer {
        Value::Array(parts) => match parts.first() {
            Some(Value::BulkString(word)) if parts.len() == 1 => Some(word),
            _ => None,
        },
        _ => None,
    }
}

/// How many partitions the deployment has, if that is why a node may not enter.
pub(crate) fn other_partitions(answer: &Value) -> Option<String> {
    match answer {
        Value::Array(parts) => match parts.as_slice() {
            [Value::BulkString(word), Value::BulkString(count)] if word == b"partitions" => {
                Some(String::from_utf8_lossy(count).into())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether the script did nothing, for this is not the server, or not the place, that the node has
/// entered.
pub(crate) fn is_elsewhere(answer: &Value) -> bool {
    match answer {
        Value::ServerError(error) => Refusal::of(error).kind == Kind::NotPrimary,
        answer => word(answer) == Some(b"epoch"),
    }
}

/// Reads the answer of [`head`].
pub(crate) fn position(answer: &Value) -> Result<Position, Error> {
    match answer {
        Value::Array(parts) => match parts.as_slice() {
            [epoch, offset, ..] => Ok(Position { epoch: epoch_of(epoch)?, offset: offset_of(offset)? }),
            _ => Err(failure(answer, "where a partition stands")),
        },
        other => Err(failure(other, "where a partition stands")),
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
        Value::ServerError(error) => Refusal::of(error).error(),
        answer if is_elsewhere(answer) => Error::Unavailable("another primary has taken over".into()),
        _ => unexpected(&format!("{expected} was expected")),
    }
}
