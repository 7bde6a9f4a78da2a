use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use http::{HeaderMap, Request, Uri, header};
use tidegate_auth::{Error, Identity, Origin, Presented};
use tidegate_protocol::Topic;

use super::Query;
use crate::app::{App, Inner};
use crate::problem::Problem;

/// Who calls: in open mode whom `?userId=` says, elsewhere whom the credential says.
pub struct Caller {
    /// And what they may do.
    pub identity: Identity,
    open: bool,
}

impl Caller {
    /// For a route that is a stream: it has to say itself that credentials can't be checked just
    /// now (see [`crate::stream()`]).
    pub async fn of(app: &App, parts: &Parts) -> Result<Self, Problem> {
        let identity = identify(app, parts).await?;
        Ok(Self { identity, open: app.is_open() })
    }

    /// The user that calls, or what is missing.
    pub fn user(&self) -> Result<&str, Problem> {
        if let Some(user) = self.identity.user.as_deref() {
            return Ok(user);
        }
        if self.open {
            return Err(Problem::invalid("userId", "Say who you are: ?userId=alice."));
        }
        Err(refuse(&self.identity, None, "This needs the token of a user, whose id is its sub.".into()))
    }

    /// Whether others' rooms and places may be managed. Nobody in open mode: there everybody could.
    pub fn is_admin(&self) -> bool {
        !self.open && self.identity.admin
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    App: FromRef<S>,
{
    type Rejection = Problem;

    /// Somebody: whoever is nobody in particular is told so before anything else is looked at,
    /// above all before a body is read.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Self::of(&App::from_ref(state), parts).await?;
        if caller.identity.is_authenticated() {
            return Ok(caller);
        }
        Err(refuse(&caller.identity, None, String::new()))
    }
}

/// Who sent a request. Without any credential it is nobody in particular: what that may do is for
/// the topic's namespace to say.
pub(crate) async fn identify(app: &Inner, request: &Parts) -> Result<Identity, Problem> {
    let query = Query::of(request)?;
    let (headers, uri) = (&request.headers, &request.uri);
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let presented = Presented {
        bearer: text(header::AUTHORIZATION).and_then(bearer),
        cookie: cookie(headers, &app.options.cookie),
        query: query.one("access_token"),
        origin: origin(app, headers, uri),
        claimed_user: query.one("userId"),
    };
    if let (true, Some(user)) = (app.auth.is_open(), presented.claimed_user.filter(|user| !user.is_empty())) {
        Topic::user(user).map_err(|error| Problem::invalid("userId", format!("{user:?}: {error}.")))?;
    }
    match app.auth.authenticate(&presented).await {
        Ok(identity) => Ok(identity),
        Err(Error::Missing) => Ok(Identity::anonymous()),
        Err(error) => {
            app.metrics.auth_refusals.with_label_values(&[error.code()]).inc();
            Err(error.into())
        }
    }
}

/// Whose page sent a request.
pub(crate) fn origin(app: &Inner, headers: &HeaderMap, uri: &Uri) -> Origin {
    let host = host(headers, uri);
    // One that can't be read is somebody's, and nobody's that we know.
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    Origin::judge(origin, host, &app.options.origins)
}

/// The name that a request calls the gateway by, with the port.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let header = || headers.get(header::HOST).and_then(|value| value.to_str().ok());
    uri.authority().map(http::uri::Authority::as_str).or_else(header)
}

/// A host's name or address.
pub(crate) fn without_port(host: &str) -> &str {
    let split = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    split.map_or(host, |(name, _)| name)
}

/// Whether a request calls the gateway by an address, or by a name that nobody can give it from
/// elsewhere: without a dot, below `localhost`, or of an origin that is allowed. One that calls it
/// nothing is no browser's.
pub(crate) fn named_here<B>(app: &Inner, request: &Request<B>) -> bool {
    let Some(host) = host(request.headers(), request.uri()) else { return true };
    let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    !name.contains('.')
        || name.ends_with(".localhost")
        || name.parse::<std::net::Ipv4Addr>().is_ok()
        || name.starts_with('[')
        || app.options.origins.names_host(host)
}

/// Refuses callers who may not manage others' memberships, histories and connections.
pub(crate) fn require_admin(who: &Identity) -> Result<(), Problem> {
    if who.admin {
        return Ok(());
    }
    Err(refuse(
        who,
        None,
        "This needs an API key, or a token with \"admin\": true in its tidegate claim.".into(),
    ))
}

/// Refuses topics that not even an admin manages.
pub(crate) fn require_unreserved(topic: &Topic) -> Result<(), Problem> {
    if topic.is_reserved() {
        return Err(Problem::forbidden(Some("topic"), "Topics starting with $ are the gateway's own."));
    }
    Ok(())
}

/// 401 to nobody in particular, who might be allowed with a credential; 403 to somebody.
pub(crate) fn refuse(who: &Identity, field: Option<&str>, detail: String) -> Problem {
    if who.is_authenticated() {
        return Problem::forbidden(field, detail);
    }
    Problem::unauthenticated(
        "No credential was sent. Send Authorization: Bearer TOKEN, the token cookie, or ?access_token=TOKEN.",
    )
}

/// The caller's own topic, if it is known who calls.
pub(crate) fn own_topic(who: &Identity) -> Option<Topic> {
    who.user.as_deref().and_then(|user| Topic::user(user).ok())
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}
