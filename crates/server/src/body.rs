use std::fmt;

use axum::extract::{FromRef, FromRequest, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserializer as _;
use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::app::{App, Inner};
use crate::problem::Problem;

/// A body that is a JSON object, within the limits of size and time.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T>
where
    App: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read(&App::from_ref(state), request.into_body()).await?;
        object(&bytes).map(Self)
    }
}

/// Reads a whole body within the limits of size and time.
pub(crate) async fn read(app: &Inner, body: axum::body::Body) -> Result<Bytes, Problem> {
    let limits = &app.options.limits;
    let reading = Limited::new(body, limits.body_bytes).collect();
    match tokio::time::timeout(limits.body_timeout, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail =
                format!("A request's body has at most {} bytes. Send several requests.", limits.body_bytes);
            Err(Problem::too_large(None, detail))
        }
        Ok(Err(error)) => Err(Problem::invalid("", format!("The body could not be read: {error}"))),
        Err(_) => Err(Problem::slow_body()),
    }
}

/// Parses a JSON object. An array is none: serde would take its elements for the fields, in their order.
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

/// The first `most` items of a JSON array, and whatever comes behind them only looked at: whether it is an array at all.
pub(crate) fn items(bytes: &[u8], most: usize) -> Result<Vec<&RawValue>, Problem> {
    let mut parser = serde_json::Deserializer::from_str(text(bytes)?);
    let items = parser.deserialize_seq(Items(most)).and_then(|items| parser.end().map(|()| items));
    items.map_err(|error| Problem::invalid("", format!("{error}.")))
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        Problem::invalid("", format!("The body is not UTF-8: invalid byte at {}.", error.valid_up_to()))
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

/// The field that serde names between back-quotes where the path has none: a missing, unknown or repeated one.
fn named(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names = ["missing field `", "unknown field `", "duplicate field `"];
    let name = names.iter().find_map(|start| text.strip_prefix(start));
    name.and_then(|rest| rest.split('`').next()).unwrap_or_default().to_owned()
}
