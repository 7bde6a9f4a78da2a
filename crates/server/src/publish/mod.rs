//! `/v1/publish`: events on their way in.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tidegate_auth::Identity;
use tidegate_broker::{Publication, Receipt};
use tidegate_protocol::{Data, EventName, Topic};

use crate::app::{App, Inner};
use crate::problem::Problem;
use crate::{body, caller};

/// One event as a publisher writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish<'a> {
    topic: Option<String>,
    /// Read when it is known how many there may be.
    #[serde(borrow)]
    topics: Option<&'a RawValue>,
    user: Option<String>,
    #[serde(borrow)]
    users: Option<&'a RawValue>,
    event: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    key: Option<String>,
}

/// `null` is data too; only a missing field is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A body's shape decides the answer's: one receipt, or a list. Its events are parsed one by one, when it is their turn: a body of millions
/// of them must not take many times its size before anybody asks whether it may.
pub(crate) enum Body<'a> {
    One(&'a [u8]),
    List(Vec<&'a RawValue>),
    Lines(&'a [u8]),
}

impl<'a> Body<'a> {
    /// An event, or an array of them. Of more than `most` only some are kept: enough to tell.
    pub(crate) fn json(bytes: &'a [u8], most: usize) -> Result<Self, Problem> {
        if bytes.trim_ascii_start().first() != Some(&b'[') {
            return Ok(Self::One(bytes));
        }
        body::items(bytes, most.saturating_add(1)).map(Self::List)
    }

    /// Whether the answer is a list.
    fn many(&self) -> bool {
        !matches!(self, Self::One(_))
    }

    /// The events' texts, in their order.
    fn texts(self) -> Box<dyn Iterator<Item = &'a [u8]> + Send + 'a> {
        match self {
            Self::One(bytes) => Box::new(std::iter::once(bytes)),
            Self::List(items) => Box::new(items.into_iter().map(|item| item.get().as_bytes())),
            Self::Lines(bytes) => {
                Box::new(bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()))
            }
        }
    }
}

/// How many times the most of a list may come as lines: what is made of a body stays near its size, and one request does not hold up all.
const LINES: usize = 100;

pub(super) async fn post(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let who = caller::identify(&app, &parts.headers, &parts.uri).await?;
    if !who.is_authenticated() && !app.options.namespaces.anyone_publishes() {
        // Before the body is read: strangers need not be given room for one.
        return Err(caller::refuse(&who, None, String::new()));
    }
    let bytes = body::read(&app, &parts.headers, body).await?;
    let key = match parts.headers.get("idempotency-key").map(http::HeaderValue::to_str) {
        Some(Ok(key)) => Some(checked_key("Idempotency-Key", key)?),
        Some(Err(_)) => return Err(Problem::invalid("Idempotency-Key", "The key must be ASCII.")),
        None => None,
    };
    let body = parse(&parts.headers, &bytes, app.options.limits.batch)?;
    publish(&app, &who, key, body).await.map(|receipts| Json(receipts).into_response())
}

/// Publishes what `who` may publish, and gives a receipt, or a list of them. `key`: of the request as a whole.
pub(crate) async fn publish(
    app: &Inner,
    who: &Identity,
    key: Option<&str>,
    request: Body<'_>,
) -> Result<Box<RawValue>, Problem> {
    let most = app.options.limits.batch;
    // A line stands for itself, and has as many events as a request of one.
    let lines = matches!(request, Body::Lines(_));
    let many = request.many();
    let mut several = many;
    let mut batch = Vec::new();
    let all = if lines { most.saturating_mul(LINES) } else { most };
    for (index, text) in request.texts().enumerate() {
        if index % 1_000 == 999 {
            // Others wait for this thread.
            tokio::task::yield_now().await;
        }
        let at = |problem: Problem| if many { problem.within(index) } else { problem };
        let wish: Wish<'_> = body::object(text).map_err(at)?;
        let topics = topics(&wish, most).map_err(at)?;
        several |= topics.1;
        let key = match (wish.key.as_deref(), key) {
            (Some(own), _) => Some(checked_key("key", own).map_err(at)?.to_owned()),
            // One key for many events: each is known by its place.
            (None, Some(key)) if many => Some(format!("{key}#{index}")),
            (None, key) => key.map(Into::into),
        };
        let (whole, events, most) = if lines && topics.0.len() > most {
            ("line", topics.0.len(), most)
        } else {
            ("request", batch.len() + topics.0.len(), all)
        };
        if events > most {
            let detail = format!("A {whole} has at most {most} events, one for each topic. Send several.");
            return Err(Problem::too_large(None, detail));
        }
        expand(app, who, &wish, topics.0, key, &mut batch).map_err(at)?;
    }
    if key.is_some() {
        require_own_keys(who, "Idempotency-Key")?;
    }
    app.allow(who, batch.len())?;
    let topics: Vec<Topic> = batch.iter().map(|publication| publication.topic.clone()).collect();
    let mut results = Vec::with_capacity(batch.len());
    let mut batch = batch.into_iter().peekable();
    while batch.peek().is_some() {
        // One exchange with the store for each thousand: a pipeline of any length would hold up everybody else's.
        let chunk = batch.by_ref().take(app.options.limits.batch).collect();
        results.extend(app.hub.broker().publish(chunk).await);
    }
    answer(app, &topics, results, several)
}

/// What [`publish`] takes out of a body before it asks who may: each event's topics and data.
#[cfg(feature = "fuzzing")]
pub(crate) fn events(headers: &HeaderMap, bytes: &[u8]) -> Result<Vec<(Vec<Topic>, String)>, Problem> {
    let event = |text| {
        let wish: Wish<'_> = body::object(text)?;
        let data = wish.data.map(RawValue::get).unwrap_or_default().to_owned();
        Ok((topics(&wish, 1_000)?.0, data))
    };
    parse(headers, bytes, 1_000)?.texts().map(event).collect()
}

fn checked_key<'a>(field: &str, key: &'a str) -> Result<&'a str, Problem> {
    if (1..=256).contains(&key.len()) {
        return Ok(key);
    }
    let detail = format!("An idempotency key has 1 to 256 bytes, this has {}.", key.len());
    Err(Problem::invalid(field, detail))
}

/// Refuses idempotency keys of anonymous callers: they would share them, and one would get
/// another's receipt instead of having its event stored. Asked only when the caller may publish: a
/// missing credential is the larger mistake.
fn require_own_keys(who: &Identity, field: &str) -> Result<(), Problem> {
    if who.is_authenticated() {
        return Ok(());
    }
    let detail = "An idempotency key needs a credential: the keys of different callers are kept apart. \
                  Send a credential, or leave out the key.";
    Err(Problem::invalid(field, detail))
}

fn parse<'a>(headers: &HeaderMap, bytes: &'a [u8], most: usize) -> Result<Body<'a>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Body::Lines(bytes)),
        // curl -d says that it is a form: believed to be JSON all the same, so that the first try works.
        "" | "application/json" | "application/x-www-form-urlencoded" | "text/plain" => {
            Body::json(bytes, most)
        }
        other => Err(Problem::media_type(format!(
            "Send application/json (an event, or an array of them) or application/x-ndjson, not {other:?}."
        ))),
    }
}

/// The topics an event goes to, and whether it was a list. Of more than `most` only some are kept: enough to tell.
fn topics(wish: &Wish<'_>, most: usize) -> Result<(Vec<Topic>, bool), Problem> {
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
    match (&wish.topic, &wish.topics, &wish.user, &wish.users) {
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

fn expand(
    app: &Inner,
    who: &Identity,
    wish: &Wish<'_>,
    topics: Vec<Topic>,
    key: Option<String>,
    batch: &mut Vec<Publication>,
) -> Result<(), Problem> {
    let data = wish
        .data
        .ok_or_else(|| Problem::invalid("data", "data is missing; it may be any JSON value, also null."))?;
    let data = Data::from_json(data.get()).map_err(|error| Problem::invalid("data", error.to_string()))?;
    let most = app.options.limits.event_bytes;
    if data.as_bytes().len() > most {
        let detail = format!("An event's data has at most {most} bytes, this has {}.", data.as_bytes().len());
        return Err(Problem::too_large(Some("data".into()), detail));
    }
    let name = match wish.event.as_deref() {
        Some(name) => {
            Some(EventName::parse(name).map_err(|error| Problem::invalid("event", format!("{error}.")))?)
        }
        None => None,
    };
    // Two callers that choose the same key don't meet.
    // A label contains no line end.
    let key = key.map(|key| format!("{}\n{key}", who.label));
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
    let at = u64::try_from(at).unwrap_or_default();
    for topic in topics {
        let namespaces = &app.options.namespaces;
        if !namespaces.may_publish(who, &topic) {
            let detail = format!("The credential does not allow publishing to {:?}.", topic.as_str());
            return Err(caller::refuse(who, Some("topic"), detail));
        }
        if wish.key.is_some() {
            require_own_keys(who, "key")?;
        }
        let retention = namespaces.of(&topic).retention;
        batch.push(Publication {
            topic,
            name: name.clone(),
            data: data.clone(),
            at,
            retention,
            key: key.clone(),
        });
    }
    Ok(())
}

/// What became of one event.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Taken { id: Option<String>, topic: &'a Topic, nodes: u32 },
    Failed { topic: &'a Topic, error: &'static str },
}

fn answer(
    app: &Inner,
    topics: &[Topic],
    results: Vec<Result<Receipt, tidegate_broker::Error>>,
    several: bool,
) -> Result<Box<RawValue>, Problem> {
    let stored = results.iter().filter(|result| result.is_ok()).count();
    app.metrics.published.inc_by(stored as u64);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        app.metrics.publish_failures.with_label_values(&[error.code()]).inc();
    }
    let failed = results.iter().find_map(|result| result.as_ref().err().cloned());
    let mut answers = topics.iter().zip(results).map(|(topic, result)| match result {
        Ok(receipt) => {
            Answer::Taken { id: receipt.id().map(|id| id.to_string()), topic, nodes: receipt.nodes }
        }
        Err(error) => Answer::Failed { topic, error: error.code() },
    });
    match failed {
        None if several => written(&answers.collect::<Vec<_>>()),
        None => written(&answers.next()),
        Some(error) if several && stored > 0 => {
            tracing::warn!(%error, stored, "a batch was taken in part");
            let detail = format!("{stored} of {} events were taken: results says which.", topics.len());
            let results = answers.map(|answer| json!(answer)).collect();
            Err(Problem::unavailable(detail).with_results(results))
        }
        Some(error) => Err(error.into()),
    }
}

fn written(answer: &impl Serialize) -> Result<Box<RawValue>, Problem> {
    to_raw_value(answer).map_err(|_| Problem::internal())
}
