//! Publishing, for the route and for WebSockets: events are checked, then stored.

mod events;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tidegate_auth::Identity;
use tidegate_broker::{Publication, Receipt};
use tidegate_protocol::{Data, EventName, Topic};

use crate::app::Inner;
use crate::extract::{body, caller};
use crate::problem::Problem;

pub(crate) use events::Events;
#[cfg(feature = "fuzzing")]
pub(crate) use events::events;
use events::{NewEvent, topics};

/// How many times the most of a list may come as lines: what is made of a body stays near its size,
/// and one request does not hold up all.
const LINES: usize = 100;

/// Publishes what `who` may publish, and gives a receipt, or a list of them. `key`: of the request
/// as a whole.
pub(crate) async fn publish(
    app: &Inner,
    who: &Identity,
    key: Option<&str>,
    request: Events<'_>,
) -> Result<Box<RawValue>, Problem> {
    let most = app.options.limits.batch;
    // A line stands for itself, and has as many events as a request of one.
    let lines = matches!(request, Events::Lines(_));
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
        let event: NewEvent<'_> = body::object(text).map_err(at)?;
        let topics = topics(&event, most).map_err(at)?;
        several |= topics.1;
        let key = match (event.key.as_deref(), key) {
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
        expand(app, who, &event, topics.0, key, &mut batch).map_err(at)?;
    }
    if key.is_some() {
        require_own_keys(who, "Idempotency-Key")?;
    }
    app.allow(who, batch.len())?;
    let topics: Vec<Topic> = batch.iter().map(|publication| publication.topic.clone()).collect();
    let mut results = Vec::with_capacity(batch.len());
    let mut batch = batch.into_iter().peekable();
    while batch.peek().is_some() {
        // One exchange with the store for each thousand: a pipeline of any length would hold up
        // everybody else's.
        let chunk = batch.by_ref().take(app.options.limits.batch).collect();
        results.extend(app.broker.publish(chunk).await);
    }
    answer(app, &topics, results, several)
}

pub(crate) fn checked_key<'a>(field: &str, key: &'a str) -> Result<&'a str, Problem> {
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

fn expand(
    app: &Inner,
    who: &Identity,
    event: &NewEvent<'_>,
    topics: Vec<Topic>,
    key: Option<String>,
    batch: &mut Vec<Publication>,
) -> Result<(), Problem> {
    let data = event
        .data
        .ok_or_else(|| Problem::invalid("data", "data is missing; it may be any JSON value, also null."))?;
    let data = Data::from_json(data.get()).map_err(|error| Problem::invalid("data", error.to_string()))?;
    let most = app.options.limits.event_bytes;
    if data.as_bytes().len() > most {
        let detail = format!("An event's data has at most {most} bytes, this has {}.", data.as_bytes().len());
        return Err(Problem::too_large(Some("data".into()), detail));
    }
    let name = match event.event.as_deref() {
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
        if event.key.is_some() {
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
    Failed { topic: &'a Topic, error: String },
}

fn answer(
    app: &Inner,
    topics: &[Topic],
    results: Vec<Result<Receipt, tidegate_broker::Error>>,
    several: bool,
) -> Result<Box<RawValue>, Problem> {
    let stored = results.iter().filter(|result| result.is_ok()).count();
    app.metrics.published.inc_by(stored as u64);
    let errors = || results.iter().filter_map(|result| result.as_ref().err());
    for error in errors() {
        app.metrics.publish_failures.with_label_values(&[error.code()]).inc();
    }
    if let Some(error) = errors().next() {
        tracing::warn!(%error, stored, "events were not taken");
    }
    // Of several the worst: whoever reads no more than the type must not take a batch for lost.
    let problems = errors().map(Problem::not_published);
    let failed = problems.reduce(|worst, other| if worst.code() == "not-stored" { other } else { worst });
    let mut answers = topics.iter().zip(results).map(|(topic, result)| match result {
        Ok(receipt) => {
            Answer::Taken { id: receipt.id().map(|id| id.to_string()), topic, nodes: receipt.nodes }
        }
        Err(error) => Answer::Failed { topic, error: Problem::not_published(&error).code().to_owned() },
    });
    match failed {
        None if several => written(&answers.collect::<Vec<_>>()),
        None => written(&answers.next()),
        Some(problem) if several => {
            let words = format!("{stored} of {} events were taken: results says which.", topics.len());
            let results = answers.map(|answer| json!(answer)).collect();
            Err(problem.after(&words).with_results(results))
        }
        Some(problem) => Err(problem),
    }
}

fn written(answer: &impl Serialize) -> Result<Box<RawValue>, Problem> {
    to_raw_value(answer).map_err(|_| Problem::internal())
}
