//! What people and tools read about the gateway: the API description, its rendering, the page.

use std::hash::{DefaultHasher, Hasher};
use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::extract::Segment;
use crate::problem::Problem;

pub(super) const OPENAPI: &str = include_str!("../pages/openapi.json");

/// The page's own files are all that it loads: no inline script, nothing from elsewhere, and nobody
/// may frame it.
const APP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                   base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file with its script in it.
const DOCS: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";

pub(super) fn openapi(document: Bytes) -> Response {
    page("application/json", DOCS, document)
}

pub(super) async fn docs() -> Response {
    page(HTML, DOCS, include_str!("../pages/docs.html"))
}

pub(super) async fn app(headers: HeaderMap) -> Result<Response, Problem> {
    file("", &headers)
}

pub(super) async fn asset(Segment(name): Segment<String>, headers: HeaderMap) -> Result<Response, Problem> {
    file(&name, &headers)
}

/// What the page consists of. Made from `clients/page`, and committed so that building the gateway
/// needs no Node.
static FILES: LazyLock<[File; 4]> = LazyLock::new(|| {
    [
        File::new("", HTML, include_bytes!("../pages/app/index.html")),
        File::new("app.js", "text/javascript; charset=utf-8", include_bytes!("../pages/app/app.js")),
        File::new("app.css", "text/css; charset=utf-8", include_bytes!("../pages/app/app.css")),
        File::new("icon.svg", "image/svg+xml", include_bytes!("../pages/app/icon.svg")),
    ]
});

struct File {
    /// Below `/assets/`; the page itself has none.
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    /// Tells one build's file from another's; nobody is kept from anything by it.
    tag: String,
}

impl File {
    fn new(name: &'static str, kind: &'static str, bytes: &'static [u8]) -> Self {
        // Of the same keys in every process: all nodes of a build name it the same.
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self { name, kind, bytes, tag: format!("\"{:016x}\"", hasher.finish()) }
    }
}

/// A file of the page. Browsers ask each time whether theirs is still the one: after an update none
/// mixes old and new.
fn file(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let File { kind, bytes, tag, .. } = FILES
        .iter()
        .find(|file| file.name == name)
        .ok_or_else(|| Problem::not_found("The page has no such file."))?;
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        page(kind, APP, StatusCode::NOT_MODIFIED)
    } else {
        page(kind, APP, Bytes::from_static(bytes))
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

fn page(kind: &'static str, policy: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
