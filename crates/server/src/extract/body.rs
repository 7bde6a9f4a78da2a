use std::fmt;

use axum::body::Body as Incoming;
use axum::extract::{FromRef, FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use rand::Rng;
use serde::Deserializer as _;
use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::app::{App, Inner};
use crate::options::Options;
use crate::policy::Share;
use crate::problem::Problem;

/// The most bytes of a body that is one thing: a thousand topics or participants fit in, and what
/// millions of small values would be made into stays near the size of the body.
const ONE: usize = 1 << 20;

/// A body that is one JSON object, within the limits of size and time.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T>
where
    App: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_one(&App::from_ref(state), &parts.headers, body).await?;
        object(&bytes).map(Self)
    }
}

/// Reads a whole body that is one thing. An event's text may be six times as long where it is
/// written in escapes.
pub(crate) async fn read_one(app: &Inner, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
    let Options { limits, transport, .. } = &app.options;
    read_within(app, headers, body, transport.body_bytes.min(ONE.max(8 * limits.event_bytes))).await
}

/// Reads a whole body within the limits of size and time.
pub(crate) async fn read(app: &Inner, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
    read_within(app, headers, body, app.options.transport.body_bytes).await
}

async fn read_within(
    app: &Inner,
    headers: &HeaderMap,
    body: Incoming,
    most: usize,
) -> Result<Bytes, Problem> {
    not_encoded(headers)?;
    let limits = &app.options.limits;
    match tokio::time::timeout(limits.body_timeout, collect(app, Limited::new(body, most))).await {
        Ok(Ok(bytes)) => unmarked(bytes),
        Ok(Err(Failed::NoRoom)) => {
            app.metrics.bodies_refused.inc();
            Err(Problem::busy(
                "Too many request bodies are in memory. Try again shortly.",
                rand::rng().random_range(1..=3),
            ))
        }
        Ok(Err(Failed::Read(error))) if error.is::<LengthLimitError>() => {
            let detail = format!("This request's body has at most {most} bytes. Send several requests.");
            Err(Problem::too_large(None, detail))
        }
        Ok(Err(Failed::Read(error))) => {
            Err(Problem::invalid("", format!("The body could not be read: {error}")))
        }
        Err(_) => Err(Problem::slow_body()),
    }
}

/// The advice for a body in another encoding.
const UTF8: &str = "Send UTF-8, whatever charset the Content-Type names.";

/// Nothing that comes is decompressed: a body of kilobytes could become gigabytes.
fn not_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings =
        values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    match codings.find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")) {
        None => Ok(()),
        Some(coding) => Err(Problem::content_encoding(&String::from_utf8_lossy(coding))),
    }
}

/// The body without a byte order mark before it, which .NET and PowerShell like to write. One of
/// UTF-16 or UTF-32 has zeros among its first bytes, or another mark: JSON begins with ASCII.
fn unmarked(bytes: Bytes) -> Result<Bytes, Problem> {
    match &*bytes {
        [0xef, 0xbb, 0xbf, ..] => Ok(bytes.slice(3..)),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, ..] | [_, 0, ..] => {
            Err(Problem::invalid("", format!("The body is UTF-16 or UTF-32. {UTF8}")))
        }
        _ => Ok(bytes),
    }
}

enum Failed {
    NoRoom,
    Read(Box<dyn std::error::Error + Send + Sync>),
}

async fn collect(app: &Inner, mut body: Limited<Incoming>) -> Result<Bytes, Failed> {
    let mut bytes = Vec::new();
    let mut share = Share::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Failed::Read)?.into_data() else { continue };
        if !app.bodies.grow(&mut share, bytes.len() + data.len()) {
            return Err(Failed::NoRoom);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(share.hold(bytes))
}

/// Parses a JSON object. An array is none: serde would take its elements for the fields, in their
/// order.
pub(crate) fn object<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::invalid("", "A JSON object, {…}, is wanted here, not an array."));
    }
    json(bytes)
}

/// Parses JSON; the problem names the field that is wrong.
pub(crate) fn json<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    let text = text(bytes)?;
    // Where something is wrong is asked only then: to keep the path costs more than the parsing.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let path = error.path().to_string();
        let field = if matches!(&*path, "." | "?") { named(error.inner()) } else { path };
        Problem::invalid(field, format!("{}.", error.inner()))
    })?;
    parser.end().map_err(|error| Problem::invalid("", format!("After the JSON value: {error}.")))?;
    Ok(value)
}

/// The first `most` items of a JSON array, and whatever comes behind them only looked at: whether
/// it is an array at all.
pub(crate) fn items(bytes: &[u8], most: usize) -> Result<Vec<&RawValue>, Problem> {
    let mut parser = serde_json::Deserializer::from_str(text(bytes)?);
    let items = parser.deserialize_seq(Items(most)).and_then(|items| parser.end().map(|()| items));
    items.map_err(|error| Problem::invalid("", format!("{error}.")))
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::invalid("", format!("The body is not UTF-8: invalid byte at {at}. {UTF8}"))
    })
}

struct Items(usize);

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.0 {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }
}

/// The field that serde names between back-quotes where the path has none: a missing, unknown or
/// repeated one.
fn named(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names = ["missing field `", "unknown field `", "duplicate field `"];
    let name = names.iter().find_map(|start| text.strip_prefix(start));
    name.and_then(|rest| rest.split('`').next()).unwrap_or_default().to_owned()
}
