use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use http::Uri;
use http::request::Parts;

use crate::problem::Problem;

/// A query's parameters in their order; one name may come several times.
#[derive(Clone, Debug)]
pub struct Query(Arc<[(String, String)]>);

/// The query of a request, parsed when it is first asked for: in the request's extensions.
#[derive(Clone, Default)]
pub(crate) struct ParsedQuery(Arc<OnceLock<Result<Query, Problem>>>);

impl Query {
    /// The query of a request. It is parsed once, however many ask.
    pub fn of(request: &Parts) -> Result<Self, Problem> {
        match request.extensions.get::<ParsedQuery>() {
            Some(parsed) => parsed.0.get_or_init(|| Self::parse(&request.uri)).clone(),
            None => Self::parse(&request.uri),
        }
    }

    /// The parser puts U+FFFD where bytes are no UTF-8: a text with it that does not spell it out
    /// itself was broken.
    fn parse(uri: &Uri) -> Result<Self, Problem> {
        let text = uri.query().unwrap_or_default();
        let pairs: Arc<[_]> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let broken =
            pairs.iter().find(|(name, value)| name.contains('\u{fffd}') || value.contains('\u{fffd}'));
        match broken {
            Some((name, _)) if !text.to_ascii_uppercase().contains("%EF%BF%BD") => {
                Err(Problem::invalid(name, "This part of the query is not UTF-8."))
            }
            _ => Ok(Self(pairs)),
        }
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// The first value of a parameter.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// A parameter that is a whole number.
    pub fn number(&self, name: &str) -> Result<Option<u32>, Problem> {
        let wrong =
            |text: &str| Problem::invalid(name, format!("{name} must be a whole number, not {text:?}."));
        self.one(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str) -> Parts {
        let mut parts = http::Request::new(()).into_parts().0;
        parts.uri = format!("/?{query}").parse().unwrap();
        parts.extensions.insert(ParsedQuery::default());
        parts
    }

    #[test]
    fn a_query_is_parsed_once_a_request() {
        let request = request("topic=a&topic=b%20c");
        let (first, second) = (Query::of(&request).unwrap(), Query::of(&request).unwrap());
        assert!(Arc::ptr_eq(&first.0, &second.0));
        assert_eq!(first.all("topic").collect::<Vec<_>>(), ["a", "b c"]);
    }

    #[test]
    fn a_broken_query_is_broken_for_all_that_ask() {
        let request = request("topic=%ff");
        for _ in 0..2 {
            assert_eq!(Query::of(&request).unwrap_err().document()["field"], "topic");
        }
    }
}
