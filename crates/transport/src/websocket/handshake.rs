use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use hyper::ext::Protocol;

use crate::problem::Problem;

/// RFC 6455, section 1.3: what makes the answer one that only a WebSocket server gives.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocol's name, for clients that ask for one. Others get the same without a name.
const SUBPROTOCOL: &str = "tidegate.v1";

/// A handshake that may be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) way: Way,
    /// Whether the client asked for the subprotocol: it wants to see that it was chosen.
    named: bool,
}

/// How it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.1 Upgrade, with what proves that it was understood.
    Upgrade([u8; 28]),
    /// HTTP/2 extended CONNECT (RFC 8441).
    Connect,
}

impl Handshake {
    /// Reads it from a request's head. Otherwise gives the answer that says what is missing.
    #[allow(clippy::result_large_err, reason = "an answer that goes out as it is")]
    pub(crate) fn of(request: &Parts) -> Result<Self, Response> {
        let headers = &request.headers;
        let wrong = |name: &'static str, detail: &str| Err(Problem::invalid(name, detail).into_response());
        let connect = match (request.version, &request.method) {
            (Version::HTTP_3, _) => return Err(Problem::not_over_h3().into_response()),
            (Version::HTTP_2, &Method::CONNECT) => true,
            (Version::HTTP_2, _) => {
                let detail =
                    "Here is a WebSocket. Over HTTP/2 it is opened with an extended CONNECT (RFC 8441).";
                return Err(Problem::upgrade_required(detail).into_response());
            }
            _ => false,
        };
        if connect {
            let protocol = request.extensions.get::<Protocol>().map(Protocol::as_str);
            if protocol != Some("websocket") {
                return wrong(":protocol", "Here is a WebSocket: :protocol must be \"websocket\".");
            }
        } else if request.version != Version::HTTP_11
            || request.method != Method::GET
            || !names(headers, header::UPGRADE, "websocket")
            || !names(headers, header::CONNECTION, "upgrade")
        {
            let detail = "Here is a WebSocket: send GET with Upgrade: websocket and Connection: Upgrade over HTTP/1.1. Proxies have to be told to pass them on.";
            return Err(upgrade(Problem::upgrade_required(detail)));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            let mut response = upgrade(Problem::upgrade_required("Sec-WebSocket-Version must be 13."));
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            if connect {
                // These are for HTTP/1.1 only.
                response.headers_mut().remove(header::UPGRADE);
                response.headers_mut().remove(header::CONNECTION);
            }
            return Err(response);
        }
        let named = subprotocol(headers).map_err(Problem::into_response)?;
        if connect {
            return Ok(Self { way: Way::Connect, named });
        }
        if headers.contains_key(header::TRANSFER_ENCODING)
            || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
        {
            return wrong("Content-Length", "The request that opens a WebSocket has no body.");
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        match key.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16)) {
            Some(key) => Ok(Self { way: Way::Upgrade(proof(key)), named }),
            None => wrong("Sec-WebSocket-Key", "Sec-WebSocket-Key must be 16 bytes in base64."),
        }
    }
}

/// The answer with which the WebSocket begins.
pub(crate) fn accept(handshake: Handshake) -> Response {
    let mut response = Response::new(Body::empty());
    if handshake.named {
        let name = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    let Way::Upgrade(proof) = handshake.way else { return response };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(proof) = HeaderValue::from_bytes(&proof) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, proof);
    }
    response
}

fn proof(key: &[u8]) -> [u8; 28] {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, MAGIC.as_bytes()].concat());
    let mut proof = [0; 28];
    // 20 bytes are 28 in base64.
    let _ = STANDARD.encode_slice(hash, &mut proof);
    proof
}

/// Whether the client asks for the subprotocol. A browser drops a connection for which none of
/// those that its page asked for was chosen, and tells the page nothing: the refusal at least says
/// why.
fn subprotocol(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut asked = items(headers, header::SEC_WEBSOCKET_PROTOCOL).filter(|item| !item.is_empty()).peekable();
    if asked.peek().is_none() {
        return Ok(false);
    }
    // Not which were asked for: a page may have put a token among them.
    let detail = format!(
        "The only subprotocol is {SUBPROTOCOL}: offer it, alone or beside others, or offer none. Tokens go in the cookie or in ?access_token=."
    );
    asked
        .any(|item| item == SUBPROTOCOL)
        .then_some(true)
        .ok_or_else(|| Problem::invalid("Sec-WebSocket-Protocol", detail))
}

/// Whether a header with a list of words has this one.
fn names(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(word))
}

/// The words of a header with a list of them.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn upgrade(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_of_the_standard() {
        assert_eq!(&proof(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
