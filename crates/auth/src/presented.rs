use crate::origins::{split, without_default_port};
use crate::{Error, Origins};

/// What a request carried. The HTTP layer fills it in and decides nothing.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// What followed `Authorization: Bearer `.
    pub bearer: Option<&'a str>,
    /// The value of the token cookie.
    pub cookie: Option<&'a str>,
    /// The value of `?access_token=`, percent-decoded.
    pub query: Option<&'a str>,
    /// Whose page sent the request; matters for the cookie only, which browsers attach unasked.
    pub origin: Origin,
    /// A user the caller claims to be. Believed by an open gateway only; ignored wherever keys decide.
    pub claimed_user: Option<&'a str>,
}

/// The one credential that counts, and the way it came.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    /// The token or API key.
    pub text: &'a str,
    /// How it was sent.
    pub source: Source,
}

/// How a credential was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `Authorization: Bearer`: the only way for API keys, which must not end up in URLs and browsers.
    Header,
    /// The token cookie.
    Cookie,
    /// `?access_token=`.
    Query,
}

/// Whose page sent a request, judged from its `Origin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// None was named: no browser, or one that fetches for a page of our own.
    #[default]
    Absent,
    /// The gateway's own.
    Same,
    /// Another one, named in the configuration.
    Allowed,
    /// A stranger's.
    Foreign,
}

impl<'a> Presented<'a> {
    /// Chooses the credential: header, else cookie, else query. Empty values count as absent.
    ///
    /// A cookie is left out when the page is a stranger's, which may still send a token that it holds itself. If the
    /// cookie was all there is, the answer is [`Error::ForeignOrigin`].
    pub fn credential(&self) -> Result<Option<Credential<'a>>, Error> {
        let given = |value: Option<&'a str>, source| {
            value.map(str::trim).filter(|text| !text.is_empty()).map(|text| Credential { text, source })
        };
        let cookie = given(self.cookie, Source::Cookie);
        let foreign = self.origin == Origin::Foreign;
        let chosen = given(self.bearer, Source::Header)
            .or(cookie.filter(|_| !foreign))
            .or(given(self.query, Source::Query));
        match chosen {
            None if foreign && cookie.is_some() => Err(Error::ForeignOrigin),
            chosen => Ok(chosen),
        }
    }
}

impl Origin {
    /// Judges the `Origin` header's value. `host` is the request's authority (`Host` or `:authority`) and `allowed` the
    /// configured origins.
    ///
    /// Schemes aren't compared for [`Same`](Self::Same): behind a proxy that ends TLS the gateway
    /// can't know its own. `*` in `allowed` admits any origin, but without credentials, so it never
    /// makes a cookie count.
    pub fn judge(origin: Option<&str>, host: Option<&str>, allowed: &Origins) -> Self {
        let Some(origin) = origin else { return Self::Absent };
        if allowed.names(origin) {
            return Self::Allowed;
        }
        let Some((scheme, authority)) = split(origin) else { return Self::Foreign };
        let bare = |name: &str| without_default_port(scheme, name).to_ascii_lowercase();
        match host {
            Some(host) if !host.is_empty() && bare(host) == bare(authority) => Self::Same,
            _ => Self::Foreign,
        }
    }
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presented")
            .field("bearer", &self.bearer.is_some())
            .field("cookie", &self.cookie.is_some())
            .field("query", &self.query.is_some())
            .field("origin", &self.origin)
            .field("claimed_user", &self.claimed_user)
            .finish()
    }
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("source", &self.source).finish_non_exhaustive()
    }
}
