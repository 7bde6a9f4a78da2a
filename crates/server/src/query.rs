use std::borrow::Cow;

use http::Uri;

use crate::problem::Problem;

/// A query's parameters in their order; one name may come several times.
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(crate) fn of(uri: &'a Uri) -> Self {
        Self(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect())
    }

    pub(crate) fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, Problem> {
        let wrong =
            |text: &str| Problem::invalid(name, format!("{name} must be a whole number, not {text:?}."));
        self.one(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }
}
