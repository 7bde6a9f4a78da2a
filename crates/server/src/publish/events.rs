//! Events as publishers write them.

use http::{HeaderMap, header};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tidegate_protocol::Topic;

use crate::extract::body;
use crate::problem::Problem;

/// One event as a publisher writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(super) struct NewEvent<'a> {
    topic: Option<String>,
    /// Read when it is known how many there may be.
    #[serde(borrow)]
    topics: Option<&'a RawValue>,
    user: Option<String>,
    #[serde(borrow)]
    users: Option<&'a RawValue>,
    pub(super) event: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) data: Option<&'a RawValue>,
    pub(super) key: Option<String>,
}

/// `null` is data too; only a missing field is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A body's shape decides the answer's: one receipt, or a list. Its events are parsed one by one,
/// when it is their turn: a body of millions of them must not take many times its size before
/// anybody asks whether it may.
pub(crate) enum Events<'a> {
    One(&'a [u8]),
    List(Vec<&'a RawValue>),
    Lines(&'a [u8]),
}

impl<'a> Events<'a> {
    /// Those of a request's body, as its content type says. Of more than `most` only some are kept.
    pub(crate) fn of(headers: &HeaderMap, bytes: &'a [u8], most: usize) -> Result<Self, Problem> {
        let kind = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let kind =
            kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Lines(bytes)),
            // curl -d says that it is a form: believed to be JSON all the same, so that the first
            // try works.
            "" | "application/json" | "application/x-www-form-urlencoded" | "text/plain" => {
                Self::json(bytes, most)
            }
            other => Err(Problem::media_type(format!(
                "Send application/json (an event, or an array of them) or application/x-ndjson, not {other:?}."
            ))),
        }
    }

    /// An event, or an array of them. Of more than `most` only some are kept: enough to tell.
    pub(crate) fn json(bytes: &'a [u8], most: usize) -> Result<Self, Problem> {
        if bytes.trim_ascii_start().first() != Some(&b'[') {
            return Ok(Self::One(bytes));
        }
        body::items(bytes, most.saturating_add(1)).map(Self::List)
    }

    /// Whether the answer is a list.
    pub(super) fn many(&self) -> bool {
        !matches!(self, Self::One(_))
    }

    /// The events' texts, in their order.
    pub(super) fn texts(self) -> Box<dyn Iterator<Item = &'a [u8]> + Send + 'a> {
        match self {
            Self::One(bytes) => Box::new(std::iter::once(bytes)),
            Self::List(items) => Box::new(items.into_iter().map(|item| item.get().as_bytes())),
            Self::Lines(bytes) => {
                Box::new(bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()))
            }
        }
    }
}

/// The topics an event goes to, and whether it was a list. Of more than `most` only some are kept:
/// enough to tell.
pub(super) fn topics(event: &NewEvent<'_>, most: usize) -> Result<(Vec<Topic>, bool), Problem> {
    let parse = |field: &str, name: &str| {
        Topic::parse(name).map_err(|error| Problem::invalid(field, format!("{name:?}: {error}.")))
    };
    let user = |field: &str, name: &str| {
        Topic::user(name).map_err(|error| Problem::invalid(field, format!("{name:?}: {error}.")))
    };
    let list = |field: &str, names: &RawValue, parse: &dyn Fn(&str, &str) -> Result<Topic, Problem>| {
        let names = body::items(names.get().as_bytes(), most.saturating_add(1))
            .map_err(|problem| problem.under(field))?;
        if names.is_empty() {
            return Err(Problem::invalid(field, format!("{field} must not be empty.")));
        }
        let name = |(n, name): (usize, &RawValue)| {
            let field = format!("{field}[{n}]");
            let name: String = body::json(name.get().as_bytes()).map_err(|problem| problem.under(&field))?;
            parse(&field, &name)
        };
        names.into_iter().enumerate().map(name).collect::<Result<Vec<_>, _>>()
    };
    match (&event.topic, &event.topics, &event.user, &event.users) {
        (Some(name), None, None, None) => Ok((vec![parse("topic", name)?], false)),
        (None, Some(names), None, None) => Ok((list("topics", names, &parse)?, true)),
        (None, None, Some(name), None) => Ok((vec![user("user", name)?], false)),
        (None, None, None, Some(names)) => Ok((list("users", names, &user)?, true)),
        (None, None, None, None) => {
            Err(Problem::invalid("topic", "Say where to: topic, topics, user or users."))
        }
        _ => Err(Problem::invalid("topic", "Only one of topic, topics, user and users can be given.")),
    }
}

/// What [`super::publish`] takes out of a body before it asks who may: each event's topics and
/// data.
#[cfg(feature = "fuzzing")]
pub(crate) fn events(headers: &HeaderMap, bytes: &[u8]) -> Result<Vec<(Vec<Topic>, String)>, Problem> {
    let read = |text| {
        let event: NewEvent<'_> = body::object(text)?;
        let data = event.data.map(RawValue::get).unwrap_or_default().to_owned();
        Ok((topics(&event, 1_000)?.0, data))
    };
    Events::of(headers, bytes, 1_000)?.texts().map(read).collect()
}
