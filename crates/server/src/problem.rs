use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

/// An error answer: RFC 9457 `application/problem+json`.
///
/// `type` is `urn:tidegate:problem:{code}`; `field` names what was wrong in the request, with an
/// index inside a batch (`[3].topic`).
///
/// Boxed: every route carries one in its result, and almost none is ever made.
#[derive(Clone, Debug)]
pub struct Problem(Box<Details>);

#[derive(Clone, Debug, Serialize)]
struct Details {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What became of each event of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<Value>>,
    /// What a program may want to know about it.
    #[serde(flatten)]
    more: serde_json::Map<String, Value>,
    #[serde(skip)]
    retry_after: Option<u32>,
}

impl Problem {
    fn new(status: StatusCode, code: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: format!("urn:tidegate:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            results: None,
            more: serde_json::Map::new(),
            retry_after: None,
        }))
    }

    fn at(mut self, field: Option<String>) -> Self {
        self.0.field = field;
        self
    }

    fn retry(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds.max(1));
        self
    }

    /// 400: the request says something that can't be.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", "The request is not valid", detail)
            .at(Some(field.into()))
    }

    /// 401: no credential, or one that does not count.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "A valid credential is needed", detail)
    }

    /// 403: known, but not allowed.
    pub fn forbidden(field: Option<&str>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail).at(field.map(Into::into))
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 405.
    pub fn method() -> Self {
        let detail = "This path exists, but not with this method; the Allow header lists those it has.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Wrong method", detail)
    }

    /// 408: the body took too long.
    pub fn slow_body() -> Self {
        let detail = "The request's body did not arrive in time. Send it faster, or in smaller requests.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The body came too slowly", detail)
    }

    /// 409: it would be possible if things stood differently, as the detail says.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// 413: more than a limit allows.
    pub fn too_large(field: Option<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail).at(field)
    }

    /// 415.
    pub fn media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "Unsupported content type", detail)
            .at(Some("Content-Type".into()))
    }

    /// 415: a body that would have to be decompressed. The answer's `Accept-Encoding` says so to
    /// programs.
    pub(crate) fn content_encoding(coding: &str) -> Self {
        let detail = format!("Content-Encoding {coding:?} is not accepted: send the body without one.");
        let title = "Unsupported content encoding";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", title, detail)
            .at(Some("Content-Encoding".into()))
    }

    /// 429: come back later.
    pub fn rate_limited(seconds: u32) -> Self {
        let detail = format!("This credential publishes faster than allowed. Try again in {seconds} s.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many events", detail).retry(seconds)
    }

    /// 429: the client's address has its share.
    pub fn address_limit(detail: impl Into<String>, seconds: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "address-limit", "Too many streams", detail).retry(seconds)
    }

    /// 503, with a time that is not the same for all who are told.
    pub fn busy(detail: impl Into<String>, seconds: u32) -> Self {
        Self::unavailable(detail).retry(seconds)
    }

    /// 429: the user has as many streams as allowed.
    pub fn user_limit(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "user-limit", "Too many streams", detail).retry(5)
    }

    /// 431, 414, 501 or 400: a head that is too large, a tunnel over HTTP/3, or no request at all.
    pub(crate) fn unreadable(status: StatusCode, most: usize) -> Self {
        match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                let detail = format!(
                    "The request line and headers have at most {most} bytes together, and there are at most 100 headers. Send fewer cookies, or name the topics in the body of a POST."
                );
                Self::new(status, "headers-too-large", "Request head too large", detail)
            }
            StatusCode::NOT_IMPLEMENTED => Self::not_over_h3(),
            StatusCode::URI_TOO_LONG => {
                let detail = "Name the topics in the body of a POST instead.";
                Self::new(status, "uri-too-long", "Request URI too long", detail)
            }
            _ => {
                let detail = "The gateway could not read this as an HTTP request.";
                Self::new(StatusCode::BAD_REQUEST, "invalid-request", "The request is not valid", detail)
            }
        }
    }

    /// 409: the user is a member of as many topics as allowed.
    pub fn membership_limit(most: usize) -> Self {
        let detail = format!(
            "The user is a member of {most} topics, as many as limits.memberships allows. Remove one first."
        );
        Self::new(StatusCode::CONFLICT, "membership-limit", "Too many memberships", detail)
            .at(Some("topic".into()))
            .with("limit", "limits.memberships")
    }

    /// 500: ours. The detail must not repeat anything internal.
    pub fn internal() -> Self {
        let detail = "The gateway failed at this request. Its log says why.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// 501: a tunnel, which is not to be had over HTTP/3.
    pub fn not_over_h3() -> Self {
        let detail = "WebSocket and other tunnels are not offered over HTTP/3. Open the WebSocket over HTTP/1.1 or HTTP/2: /v1/ws.";
        Self::new(StatusCode::NOT_IMPLEMENTED, "not-over-h3", "Not over HTTP/3", detail)
    }

    /// 503: try again.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable", detail).retry(1)
    }

    /// 503: an event that was not published, or perhaps was. The type tells which.
    ///
    /// The details of an error name hosts and ports: they are for the log. A refusal names none.
    pub fn not_published(error: &tidegate_broker::Error) -> Self {
        use tidegate_broker::Error;

        let why = match error {
            Error::Unknown(_) | Error::Protocol(_) => return Self::outcome_unknown(),
            Error::Refused(words) => words,
            Error::Busy(_) => "the node is busy",
            Error::Unavailable(_) | Error::Memberships(_) => "the broker can't be reached",
        };
        let detail = format!("Not stored: {why}. Try again.");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-stored", "Not stored", detail).retry(1)
    }

    /// 503: an event that may be stored and sent.
    fn outcome_unknown() -> Self {
        let detail = "The broker did not confirm the event: it may be stored and sent, or not. A retry with the same Idempotency-Key is safe. Without one the event may come twice.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", "Outcome unknown", detail).retry(1)
    }

    /// 503: what all callers share is full. Waiting may help, asking again at once does not.
    pub fn full(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "full", "Full", detail).retry(60)
    }

    /// 503: no credential can be checked.
    pub(crate) fn no_keys() -> Self {
        Self::unavailable("The keys for checking credentials are not available. Try again shortly.")
    }

    /// 426: another protocol is spoken here.
    pub(crate) fn upgrade_required(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", "Upgrade required", detail)
    }

    /// 429: a WebSocket on which too much is said.
    pub(crate) fn too_many_messages(rate: u32) -> Self {
        let detail = format!(
            "At most {rate} messages a second, and twice as many at once. This one was not read. Wait, or the connection is closed."
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many messages", detail).retry(1)
    }

    /// With a member more, for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.into(), value.into());
        self
    }

    /// The same problem, with something said first.
    pub(crate) fn after(mut self, words: &str) -> Self {
        self.0.detail = format!("{words} {}", self.0.detail);
        self
    }

    /// With what became of each event of a batch.
    pub fn with_results(mut self, results: Vec<Value>) -> Self {
        self.0.results = Some(results);
        self
    }

    /// The same problem, at a place within a batch.
    pub fn within(mut self, index: usize) -> Self {
        let field = self.0.field.take();
        self.0.field = Some(match field {
            Some(field) if field.is_empty() => format!("[{index}]"),
            Some(field) if field.starts_with('[') => format!("[{index}]{field}"),
            Some(field) => format!("[{index}].{field}"),
            None => format!("[{index}]"),
        });
        self
    }

    /// The same problem, within a field.
    pub(crate) fn under(mut self, name: &str) -> Self {
        let field = self.0.field.take().unwrap_or_default();
        let dot = if field.is_empty() || field.starts_with('[') { "" } else { "." };
        self.0.field = Some(format!("{name}{dot}{field}"));
        self
    }

    /// The word by which programs know it.
    pub(crate) fn code(&self) -> &str {
        self.0.kind.rsplit(':').next().unwrap_or_default()
    }

    /// The document, for whom no status and no header reaches: with `retry_after`, in seconds,
    /// where it says to wait.
    pub(crate) fn document(&self) -> Value {
        let mut document = serde_json::to_value(&self.0).unwrap_or_default();
        if let (Some(seconds), Some(fields)) = (self.0.retry_after, document.as_object_mut()) {
            fields.insert("retry_after".into(), seconds.into());
        }
        document
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code() == "content-encoding" {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if self.0.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// For everything but an event: see [`Problem::not_published`].
impl From<tidegate_broker::Error> for Problem {
    fn from(error: tidegate_broker::Error) -> Self {
        use tidegate_broker::Error;

        // The details name hosts and ports: they are for the log. A refusal names none.
        tracing::warn!(%error, "the broker failed");
        match error {
            Error::Memberships(most) => Self::membership_limit(most),
            Error::Refused(words) => Self::unavailable(format!("{words}. Try again later.")),
            Error::Busy(_) => Self::unavailable("The node is busy. Try again."),
            Error::Unavailable(_) => Self::unavailable("The broker can't be reached. Try again."),
            Error::Unknown(_) | Error::Protocol(_) => Self::unavailable(
                "The broker did not confirm it in time. Try again: asking twice does no harm.",
            ),
        }
    }
}

impl From<tidegate_auth::Error> for Problem {
    fn from(error: tidegate_auth::Error) -> Self {
        match error {
            tidegate_auth::Error::ForeignOrigin => Self::forbidden(None, error.to_string()),
            error if error.is_temporary() => Self::unavailable(error.to_string()),
            error => Self::unauthenticated(error.to_string()),
        }
    }
}
