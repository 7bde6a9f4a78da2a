use std::borrow::Cow;

use http::Uri;

use crate::problem::Problem;

/// A query's parameters in their order; one name may come several times.
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// The parser puts U+FFFD where bytes are no UTF-8: a text with it that does not spell it out itself was broken.
    pub fn of(uri: &'a Uri) -> Result<Self, Problem> {
        let text = uri.query().unwrap_or_default();
        let pairs: Vec<_> = form_urlencoded::parse(text.as_bytes()).collect();
        let broken =
            pairs.iter().find(|(name, value)| name.contains('\u{fffd}') || value.contains('\u{fffd}'));
        match broken {
            Some((name, _)) if !text.to_ascii_uppercase().contains("%EF%BF%BD") => {
                Err(Problem::invalid(name.as_ref(), "This part of the query is not UTF-8."))
            }
            _ => Ok(Self(pairs)),
        }
    }

    /// Every value of a parameter.
    pub fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b str> {
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
