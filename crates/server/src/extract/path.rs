use std::collections::HashMap;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;
use tidegate_protocol::Topic;

use super::Query;
use crate::problem::Problem;

/// What stands in the path. Percent-encoded bytes that are no UTF-8 are a problem like any other.
pub struct Segment<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid("path", format!("{}.", error.body_text())))?;
        Ok(Self(value))
    }
}

/// The topic that a request is about: from its path, or from `?topic=` where the route has none. A
/// proxy that decodes `%2F` before it passes a path on would break a topic with a `/` in it;
/// nothing decodes a query.
///
/// [`parse`](Self::parse) reports a bad name, so that a route can authenticate its caller first.
pub(crate) struct TopicName(Result<String, Problem>);

impl TopicName {
    /// The topic of that name.
    pub(crate) fn parse(self) -> Result<Topic, Problem> {
        let name = self.0?;
        Topic::parse(&name).map_err(|error| Problem::invalid("topic", format!("{name:?}: {error}.")))
    }

    fn of_query(request: &Parts) -> Result<String, Problem> {
        let query = Query::of(request)?;
        let mut names = query.all("topic");
        match (names.next(), names.next()) {
            (Some(name), None) => Ok(name.into()),
            (None, _) => Err(Problem::invalid("topic", "Name the topic: ?topic=room:1.")),
            _ => Err(Problem::invalid("topic", "Only one topic can be named here.")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TopicName {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let path = Segment::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let named = path.map(|Segment(mut path)| path.remove("topic"));
        Ok(Self(match named {
            Ok(Some(name)) => Ok(name),
            Ok(None) => Self::of_query(parts),
            Err(problem) => Err(problem),
        }))
    }
}
