//! What every way to receive has in common: who asks, for which topics, from where.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;
use tidegate_auth::Identity;
use tidegate_hub::{Error, Join, Resume, StreamOverrides};
use tidegate_protocol::{Format, Topic};

use crate::app::{App, Inner};
use crate::extract::{Query, caller};
use crate::problem::Problem;

/// What a client wants to receive, however it said so.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub(crate) struct StreamRequest {
    #[serde(default)]
    pub(crate) topics: Vec<String>,
    pub(crate) last_event_id: Option<String>,
    pub(crate) replay: Option<u32>,
    /// `event`: heartbeats that a page's script can see.
    pub(crate) heartbeat: Option<String>,
}

impl StreamRequest {
    /// Reads it from a request's head; `id` is the parameter that may carry the cursor.
    pub(crate) fn of(request: &Parts, id: &str) -> Result<Self, Problem> {
        let query = Query::of(request)?;
        let header = request
            .headers
            .get("last-event-id")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok(Self {
            topics: query.all("topic").map(Into::into).collect(),
            last_event_id: given(header).or_else(|| given(query.one(id).map(Into::into))),
            replay: query.number("replay")?,
            heartbeat: query.one("heartbeat").map(Into::into),
        })
    }

    /// Adds what a body says.
    pub(crate) fn and(&mut self, said: Self) {
        self.topics.extend(said.topics);
        self.last_event_id = self.last_event_id.take().or(given(said.last_event_id));
        self.replay = said.replay.or(self.replay);
        self.heartbeat = self.heartbeat.take().or(said.heartbeat);
    }
}

/// Who sent a request for a stream. `None`: it can't be told just now, and may be told later.
pub(crate) async fn identify(app: &App, parts: &Parts) -> Result<Option<Identity>, Problem> {
    match caller::identify(app, parts).await {
        Err(problem) if problem.status() == StatusCode::SERVICE_UNAVAILABLE => Ok(None),
        other => other.map(Some),
    }
}

/// The request as the hub takes it, if `who` may have it.
pub(crate) fn join(
    app: &Inner,
    who: &Identity,
    request: StreamRequest,
    format: Format,
) -> Result<Join, Problem> {
    let resume = match (request.last_event_id, request.replay) {
        (Some(id), _) => Resume::After(id),
        (_, Some(count)) if count > 0 => Resume::Last(count),
        _ => Resume::Live,
    };
    Ok(Join::new(topics(app, who, &request.topics)?)
        .user(caller::own_topic(who))
        .resume(resume)
        .expires_at(who.expires_at.map(instant))
        .format(format)
        .overrides(overrides(app, request.heartbeat.as_deref())?))
}

/// How a stream differs, whose client asked for these heartbeats.
pub(crate) fn overrides(
    app: &Inner,
    heartbeat: Option<&str>,
) -> Result<Option<Arc<StreamOverrides>>, Problem> {
    match heartbeat {
        None => Ok(None),
        Some("event") => Ok(Some(Arc::clone(&app.watched))),
        Some(other) => {
            let detail = format!("heartbeat can be \"event\", or is left out; it is {other:?}.");
            Err(Problem::invalid("heartbeat", detail))
        }
    }
}

/// The topics named, if `who` may have them all.
pub(crate) fn topics(app: &Inner, who: &Identity, names: &[String]) -> Result<Vec<Topic>, Problem> {
    let most = app.options.topics;
    if names.len() > most {
        let detail = format!("A stream has at most {most} topics, this request has {}.", names.len());
        return Err(Problem::invalid("topics", detail));
    }
    let mut topics = Vec::with_capacity(names.len());
    for name in names {
        topics.push(allowed(app, who, "topic", name)?);
    }
    topics.sort();
    topics.dedup();
    if topics.is_empty() && who.user.is_none() {
        let detail = "Name at least one topic: ?topic=room:1, several times for several.";
        return Err(Problem::invalid("topic", detail));
    }
    Ok(topics)
}

/// Topics for a stream that has so many, if `who` may have them all and they are not too many.
pub(crate) fn more_topics(
    app: &Inner,
    who: &Identity,
    names: &[String],
    have: usize,
) -> Result<Vec<Topic>, Problem> {
    let most = app.options.topics;
    if have + names.len() > most {
        let detail = format!("A stream has at most {most} topics, this one has {have}.");
        return Err(Problem::invalid("subscribe", detail));
    }
    let names = names.iter().enumerate();
    names.map(|(n, name)| allowed(app, who, &format!("subscribe[{n}]"), name)).collect()
}

/// Topics that a stream is to have no longer, if they are not more than it can have.
pub(crate) fn fewer_topics(app: &Inner, names: &[String]) -> Result<Vec<Topic>, Problem> {
    let most = app.options.topics;
    if names.len() > most {
        let detail = format!("A stream has at most {most} topics, this message names {}.", names.len());
        return Err(Problem::invalid("unsubscribe", detail));
    }
    let names = names.iter().enumerate();
    names.map(|(n, name)| named(&format!("unsubscribe[{n}]"), name)).collect()
}

/// The topic that `field` names.
fn named(field: &str, name: &str) -> Result<Topic, Problem> {
    Topic::parse(name).map_err(|error| Problem::invalid(field, format!("{name:?}: {error}.")))
}

fn allowed(app: &Inner, who: &Identity, field: &str, name: &str) -> Result<Topic, Problem> {
    let topic = named(field, name)?;
    if app.options.namespaces.may_subscribe(who, &topic) {
        return Ok(topic);
    }
    Err(caller::refuse(who, Some(field), format!("The credential does not allow subscribing to {name:?}.")))
}

/// Why the hub did not open a stream, for whoever reads a status. Counted as refused.
pub(crate) fn refused(app: &Inner, error: &Error) -> Problem {
    app.metrics.transport.refused.with_label_values(&[error.reason()]).inc();
    match error {
        Error::UserLimit(_) => Problem::user_limit(format!("{error}. Close one, or try again later.")),
        Error::Unavailable(_) | Error::Draining => Problem::unavailable(format!("{error}. Try again.")),
    }
}

/// The id after which a client wants to go on: `Last-Event-ID`, else `?last_event_id=`.
pub fn last_event_id(parts: &Parts) -> Result<Option<String>, Problem> {
    StreamRequest::of(parts, "last_event_id").map(|request| request.last_event_id)
}

/// An empty id is none: browsers forget theirs when they get one.
fn given(id: Option<String>) -> Option<String> {
    id.filter(|id| !id.is_empty())
}

/// The moment on the clock that does not jump.
pub(crate) fn instant(at: SystemTime) -> Instant {
    Instant::now() + at.duration_since(SystemTime::now()).unwrap_or_default()
}
