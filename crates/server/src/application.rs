use axum::Router;
use bytes::Bytes;
use serde_json::{Map, Value};

/// What is served beside the gateway's own routes: behind the same gate, with the same errors, in the same description.
pub struct Application {
    /// For the log.
    pub name: &'static str,
    /// Its routes, with their state.
    pub router: Router,
    /// Those of them that are streams: on a connection over the limit they are let through, and say it in their own way.
    pub streams: &'static [&'static str],
    /// An OpenAPI document with its `paths`, `tags` and `components`.
    pub openapi: &'static str,
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
