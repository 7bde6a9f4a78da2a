use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_hub::{Join, Resume, Scope, StreamOverrides};
use tidegate_protocol::{Format, Topic};

use crate::extract::{Caller, caller};
use crate::receive::instant;

/// What is served beside the gateway's own routes: behind the same gate, with the same errors, in
/// the same description.
pub struct Application {
    /// For the log.
    pub name: &'static str,
    /// Its routes, with their state.
    pub router: Router,
    /// Those of them that are streams: on a connection over the limit they are let through, and say
    /// it in their own way.
    pub streams: &'static [&'static str],
    /// An OpenAPI document with its `paths`, `tags` and `components`.
    pub openapi: &'static str,
}

/// A stream, or a long poll, that an application opens for its caller.
///
/// It is the caller's, which no application can forget: only [`Caller::opening`] makes one. It is
/// counted among the user's streams, and ends when the user is disconnected and when the credential
/// expires.
pub struct Opening(pub(crate) Join);

impl Caller {
    /// A stream of these topics, beginning with what comes. The application has checked that the
    /// caller may have them.
    pub fn opening(&self, topics: Vec<Topic>) -> Opening {
        Opening(
            Join::new(topics)
                .user(caller::own_topic(&self.identity))
                .scope(Scope::Topics)
                .expires_at(self.identity.expires_at.map(instant)),
        )
    }
}

impl Opening {
    /// With the user's own topic and memberships.
    #[must_use]
    pub fn with_own(self) -> Self {
        Self(self.0.scope(Scope::Own))
    }

    /// Until the user stops being a member of one of the topics.
    #[must_use]
    pub fn while_member(self) -> Self {
        Self(self.0.scope(Scope::Membership))
    }

    /// Beginning there.
    #[must_use]
    pub fn resume(self, resume: Resume) -> Self {
        Self(self.0.resume(resume))
    }

    /// With heartbeats, a greeting and an age of its own.
    #[must_use]
    pub fn overrides(self, overrides: Arc<StreamOverrides>) -> Self {
        Self(self.0.overrides(Some(overrides)))
    }

    /// Of JSON objects, for [`wait`](crate::wait).
    #[must_use]
    pub fn objects(self) -> Self {
        Self(self.0.format(Format::Json))
    }
}

/// The gateway's OpenAPI document with those of the applications in it.
pub(crate) fn openapi(own: &'static str, applications: &[Application]) -> Bytes {
    if applications.is_empty() {
        return Bytes::from_static(own.as_bytes());
    }
    let mut whole = parse(own);
    for application in applications {
        merge(&mut whole, parse(application.openapi));
    }
    Bytes::from(Value::from(whole).to_string())
}

fn parse(text: &str) -> Map<String, Value> {
    // Both are part of the binary, and tests read them.
    serde_json::from_str(text).unwrap_or_default()
}

/// Adds what is not there yet, at any depth.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (Some(Value::Array(into)), Value::Array(from)) => into.extend(from),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(name, value);
            }
        }
    }
}
