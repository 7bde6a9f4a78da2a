//! What people and tools read about the gateway: the API description, its rendering, the demo page.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

pub(super) const OPENAPI: &str = include_str!("../pages/openapi.json");

pub(super) fn openapi(document: Bytes) -> Response {
    page("application/json", document)
}

pub(super) async fn docs() -> Response {
    page("text/html; charset=utf-8", include_str!("../pages/docs.html"))
}

pub(super) async fn demo() -> Response {
    page("text/html; charset=utf-8", include_str!("../pages/demo.html"))
}

/// Pages bring all they need themselves: nothing is loaded from elsewhere, and nobody may frame them.
fn page(kind: &'static str, text: impl IntoResponse) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                          img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
