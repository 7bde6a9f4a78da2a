//! What the clients of WebSockets say, and how they are answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tidegate_auth::Identity;
use tidegate_hub::SubscriberHandle;
use tidegate_transport::websocket::{Messages, Reply};

use crate::app::App;
use crate::extract::body;
use crate::problem::Problem;
use crate::publish::{Events, publish};
use crate::receive;

/// One client that speaks, and what its messages may do.
pub(crate) struct Client {
    app: App,
    identity: Identity,
    /// Of the message whose topics the hub has yet to confirm.
    reference: Option<Reference>,
}

impl Client {
    pub(crate) fn new(app: App, identity: Identity) -> Self {
        Self { app, identity, reference: None }
    }

    /// Begins with what the client wants, if it may have it.
    fn begin(
        &mut self,
        request: Request,
        reference: Option<Reference>,
        subscription: &SubscriberHandle,
    ) -> Result<Reply, Problem> {
        let Self { app, identity, .. } = &*self;
        app.metrics.ws_messages.with_label_values(&[request.kind()]).inc();
        Ok(match request {
            Request::Subscribe(names) => {
                let topics = receive::more_topics(app, identity, &names, subscription.topics())?;
                self.reference = reference;
                Reply::Subscribe(topics)
            }
            Request::Unsubscribe(names) => {
                let topics = receive::fewer_topics(app, &names)?;
                self.reference = reference;
                Reply::Unsubscribe(topics)
            }
            Request::Publish(event) => {
                let (app, identity) = (app.clone(), identity.clone());
                Reply::Later(Box::pin(async move {
                    let published = async {
                        let events = Events::json(event.get().as_bytes(), app.options.limits.batch)?;
                        publish(&app, &identity, None, events).await
                    };
                    match published.await.map_err(|problem: Problem| problem.under("publish")) {
                        Ok(receipts) => answer("tidegate:published", receipts, reference.as_ref()),
                        Err(problem) => refuse(&app, &problem, reference.as_ref()),
                    }
                }))
            }
        })
    }
}

impl Messages for Client {
    fn answer(&mut self, text: &str, subscription: &SubscriberHandle) -> Reply {
        let Message { reference, request } = Message::parse(text);
        request
            .and_then(|request| self.begin(request, reference.clone(), subscription))
            .unwrap_or_else(|problem| Reply::Answer(refuse(&self.app, &problem, reference.as_ref())))
    }

    fn confirm(&mut self, confirmation: Bytes) -> Bytes {
        refer(confirmation, self.reference.take().as_ref())
    }

    fn too_fast(&mut self, rate: u32) -> Bytes {
        refuse(&self.app, &Problem::too_many_messages(rate), None)
    }
}

/// The answer that says what is wrong. It is counted.
fn refuse(app: &App, problem: &Problem, reference: Option<&Reference>) -> Bytes {
    app.metrics.ws_refused.with_label_values(&[problem.code()]).inc();
    answer("tidegate:error", problem.document(), reference)
}

/// Bytes of a `ref`: enough for any id that a client may number its messages with.
const REF: usize = 256;

/// One message of a client.
struct Message {
    /// What is given back with the answer.
    reference: Option<Reference>,
    request: Result<Request, Problem>,
}

/// How the client knows which of its messages is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
struct Reference(Value);

/// What it wants.
#[derive(Debug)]
enum Request {
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    /// What the body of a publish request would be.
    Publish(Box<RawValue>),
}

impl Message {
    fn parse(text: &str) -> Self {
        let mut fields: BTreeMap<String, Box<RawValue>> = match body::json(text.as_bytes()) {
            Ok(fields) => fields,
            Err(problem) => return Self { reference: None, request: Err(problem) },
        };
        match fields.remove("ref").map(|raw| Reference::parse(&raw)).transpose() {
            Ok(reference) => Self { reference, request: request(fields) },
            Err(problem) => Self { reference: None, request: Err(problem) },
        }
    }
}

impl Request {
    /// The word for it, which is the message's field and the metric's label.
    fn kind(&self) -> &'static str {
        match self {
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Publish(_) => "publish",
        }
    }
}

impl Reference {
    fn parse(raw: &RawValue) -> Result<Self, Problem> {
        let short = raw.get().len() <= REF;
        match serde_json::from_str(raw.get()) {
            Ok(value @ (Value::String(_) | Value::Number(_))) if short => Ok(Self(value)),
            _ => Err(Problem::invalid(
                "ref",
                format!("ref must be a string or a number of at most {REF} bytes."),
            )),
        }
    }
}

fn request(mut fields: BTreeMap<String, Box<RawValue>>) -> Result<Request, Problem> {
    const KNOWN: &str = "subscribe, unsubscribe or publish";
    let Some((name, raw)) = fields.pop_first() else {
        return Err(Problem::invalid("", format!("Say what to do: {KNOWN}.")));
    };
    let list = || -> Result<Vec<String>, Problem> {
        let list: Vec<String> = body::json(raw.get().as_bytes()).map_err(|problem| problem.under(&name))?;
        if list.is_empty() {
            return Err(Problem::invalid(&*name, format!("{name} must not be empty.")));
        }
        Ok(list)
    };
    let request = match &*name {
        "subscribe" => Request::Subscribe(list()?),
        "unsubscribe" => Request::Unsubscribe(list()?),
        "publish" => Request::Publish(raw),
        _ => {
            let detail =
                format!("{name:?} is not known here: a message has one of {KNOWN}, and a ref if you like.");
            return Err(Problem::invalid(name, detail));
        }
    };
    match fields.pop_first() {
        None => Ok(request),
        Some((more, _)) => Err(Problem::invalid(
            more,
            format!("A message has only one of {KNOWN}; send another one for this."),
        )),
    }
}

/// The shape of everything that goes out.
#[derive(Serialize)]
struct Answer<'a, T> {
    id: (),
    topic: (),
    event: &'a str,
    data: T,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a Reference>,
}

/// An answer.
fn answer(event: &str, data: impl Serialize, reference: Option<&Reference>) -> Bytes {
    serde_json::to_vec(&Answer { id: (), topic: (), event, data, reference }).unwrap_or_default().into()
}

/// Adds the reference to one of the hub's objects.
fn refer(object: Bytes, reference: Option<&Reference>) -> Bytes {
    match (reference, object.strip_suffix(b"}")) {
        (Some(Reference(reference)), Some(open)) => {
            [open, b",\"ref\":", reference.to_string().as_bytes(), b"}"].concat().into()
        }
        _ => object,
    }
}

/// The problem with a message, if there is one.
#[cfg(feature = "fuzzing")]
pub(crate) fn problem(text: &str) -> Option<Problem> {
    Message::parse(text).request.err()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refused(text: &str) -> (String, Option<Value>) {
        let message = Message::parse(text);
        let problem = message.request.unwrap_err().document();
        (problem["field"].as_str().unwrap().to_owned(), message.reference.map(|reference| reference.0))
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, field) in [
            ("", ""),
            ("[]", ""),
            ("nonsense", ""),
            ("{}", ""),
            (r#"{"ref": null, "subscribe": ["a"]}"#, "ref"),
            (r#"{"ref": {}, "subscribe": ["a"]}"#, "ref"),
            (r#"{"subscribe": "a"}"#, "subscribe"),
            (r#"{"subscribe": []}"#, "subscribe"),
            (r#"{"subscribe": ["a", 1]}"#, "subscribe[1]"),
            (r#"{"subscribed": ["a"]}"#, "subscribed"),
            (r#"{"subscribe": ["a"], "unsubscribe": ["b"]}"#, "unsubscribe"),
        ] {
            assert_eq!(refused(text), (field.to_owned(), None), "{text}");
        }
        assert_eq!(refused(r#"{"ref": 7, "say": 1}"#), ("say".into(), Some(json!(7))));
    }

    #[test]
    fn the_reference_comes_back() {
        let message = Message::parse(r#"{"publish": {"topic": "a"}, "ref": "q\"1"}"#);
        assert!(matches!(message.request, Ok(Request::Publish(raw)) if raw.get() == r#"{"topic": "a"}"#));
        let reference = message.reference.as_ref();
        let shape = json!({ "id": null, "topic": null, "event": "e", "data": 1, "ref": "q\"1" });
        assert_eq!(serde_json::from_slice::<Value>(&answer("e", json!(1), reference)).unwrap(), shape);
        let object = Bytes::from_static(br#"{"id":null,"topic":null,"event":"e","data":1}"#);
        assert_eq!(serde_json::from_slice::<Value>(&refer(object.clone(), reference)).unwrap(), shape);
        assert_eq!(refer(object.clone(), None), object);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in r#"[ -~]{0,60}|(\{|\}|\[|\]|:|,|"|ref|subscribe|publish|1|a){0,20}"#) {
            if let Err(problem) = Message::parse(&text).request {
                prop_assert_eq!(problem.status().as_u16(), 400);
            }
        }
    }
}
