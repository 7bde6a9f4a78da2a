use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::ext::Protocol;

/// RFC 6455, section 1.3: what makes the answer one that only a WebSocket server gives.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocol's name, for clients that ask for one. Others get the same without a name.
pub const SUBPROTOCOL: &str = "tidegate.v1";

/// A handshake that may be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    way: Way,
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

/// Why a request opens no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It came over HTTP/3 (RFC 9220).
    Http3,
    /// It came over HTTP/2 and is no extended CONNECT.
    NotConnect,
    /// It is an extended CONNECT for another `:protocol`.
    OtherProtocol,
    /// It is no HTTP/1.1 Upgrade.
    NotUpgrade,
    /// `Sec-WebSocket-Version` is not 13. `upgrade`: it came as an Upgrade.
    Version {
        /// Whether the answer names what to upgrade to.
        upgrade: bool,
    },
    /// It asks for other subprotocols only than [`SUBPROTOCOL`].
    Subprotocol,
    /// It has a body.
    Body,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64.
    Key,
}

impl Handshake {
    /// Reads it from a request's head.
    pub fn of(request: &Parts) -> Result<Self, Refusal> {
        let headers = &request.headers;
        let connect = match (request.version, &request.method) {
            (Version::HTTP_3, _) => return Err(Refusal::Http3),
            (Version::HTTP_2, &Method::CONNECT) => true,
            (Version::HTTP_2, _) => return Err(Refusal::NotConnect),
            _ => false,
        };
        if connect {
            let protocol = request.extensions.get::<Protocol>().map(Protocol::as_str);
            if protocol != Some("websocket") {
                return Err(Refusal::OtherProtocol);
            }
        } else if request.version != Version::HTTP_11
            || request.method != Method::GET
            || !names(headers, header::UPGRADE, "websocket")
            || !names(headers, header::CONNECTION, "upgrade")
        {
            return Err(Refusal::NotUpgrade);
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Refusal::Version { upgrade: !connect });
        }
        let named = subprotocol(headers)?;
        if connect {
            return Ok(Self { way: Way::Connect, named });
        }
        if headers.contains_key(header::TRANSFER_ENCODING)
            || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
        {
            return Err(Refusal::Body);
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
        key.map(|key| Self { way: Way::Upgrade(proof(key)), named }).ok_or(Refusal::Key)
    }

    pub(crate) fn way(&self) -> Way {
        self.way
    }

    /// What its stream is counted as.
    pub fn transport(&self) -> &'static str {
        match self.way {
            Way::Upgrade(_) => "ws-h1",
            Way::Connect => "ws-h2",
        }
    }

    /// The answer with which the WebSocket begins.
    pub(crate) fn accept(self) -> Response<()> {
        let mut response = Response::new(());
        if self.named {
            let name = HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
        }
        let Way::Upgrade(proof) = self.way else { return response };
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Ok(proof) = HeaderValue::from_bytes(&proof) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, proof);
        }
        response
    }
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
fn subprotocol(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut asked = items(headers, header::SEC_WEBSOCKET_PROTOCOL).filter(|item| !item.is_empty()).peekable();
    if asked.peek().is_none() {
        return Ok(false);
    }
    asked.any(|item| item == SUBPROTOCOL).then_some(true).ok_or(Refusal::Subprotocol)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_of_the_standard() {
        assert_eq!(&proof(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
