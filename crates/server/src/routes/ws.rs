//! `/v1/ws`: WebSocket, by HTTP/1.1 Upgrade and by HTTP/2 extended CONNECT.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
use tidegate_protocol::Format;
use tidegate_transport::respond;
use tidegate_transport::websocket::{Handshake, Refusal, SUBPROTOCOL, Session};

use crate::app::App;
use crate::policy::Refused;
use crate::problem::Problem;
use crate::receive::{self, StreamRequest};
use crate::websocket::Client;

/// What a message may have besides one event's data: topics, names, keys, white space.
const ENVELOPE: usize = 16 << 10;

pub(super) async fn open(State(app): State<App>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let handshake = match Handshake::of(&parts) {
        Ok(handshake) => handshake,
        Err(refusal) => return refused(refusal),
    };
    let session = match session(app, &parts, handshake).await {
        Ok(session) => session,
        // A client of a WebSocket is told by the status, for it has no stream yet on which it could
        // be told.
        Err(problem) => return problem.into_response(),
    };
    match respond::websocket(&mut parts, handshake, session) {
        Some(response) => response.map(|()| Body::empty()),
        None => Problem::internal().into_response(),
    }
}

async fn session(app: App, parts: &Parts, handshake: Handshake) -> Result<Box<Session>, Problem> {
    let wanted = StreamRequest::of(parts, "last_event_id")?;
    let who = receive::identify(&app, parts).await?.ok_or_else(Problem::no_keys)?;
    let join = receive::join(&app, &who, wanted, Format::Json)?;
    let admission = app.admission.enter(parts).map_err(Refused::problem)?;
    let subscription = app.hub.join(join).await.map_err(|error| receive::refused(&app, &error))?;
    let metrics = &app.metrics.transport;
    let (permit, closed) = (metrics.stream(handshake.transport(), admission), metrics.ws_closed.clone());
    let message_bytes = app.options.limits.event_bytes + ENVELOPE;
    let client = Client::new(app.clone(), who);
    Ok(Session::new(subscription, client, permit, message_bytes, &app.options.transport, closed))
}

/// The answer to a request that opens no WebSocket: it says what is missing.
fn refused(refusal: Refusal) -> Response {
    let invalid = |field: &str, detail: &str| Problem::invalid(field, detail).into_response();
    match refusal {
        Refusal::Http3 => Problem::not_over_h3().into_response(),
        Refusal::NotConnect => Problem::upgrade_required(
            "This path is a WebSocket. Over HTTP/2, open it with an extended CONNECT (RFC 8441).",
        )
        .into_response(),
        Refusal::OtherProtocol => {
            invalid(":protocol", "This path is a WebSocket: :protocol must be \"websocket\".")
        }
        Refusal::NotUpgrade => upgrade(Problem::upgrade_required(
            "This path is a WebSocket: send GET with Upgrade: websocket and Connection: Upgrade over HTTP/1.1. Configure proxies to pass these headers on.",
        )),
        Refusal::Version { upgrade: upgrades } => {
            let problem = Problem::upgrade_required("Sec-WebSocket-Version must be 13.");
            let mut response = if upgrades { upgrade(problem) } else { problem.into_response() };
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            response
        }
        Refusal::Subprotocol => {
            // A browser drops a connection for which none of those that its page asked for was
            // chosen, and tells the page nothing: the refusal at least says why. Not which were
            // asked for: a page may have put a token among them.
            let detail = format!(
                "The only subprotocol is {SUBPROTOCOL}: offer it, alone or beside others, or offer none. Tokens go in the cookie or in ?access_token=."
            );
            invalid("Sec-WebSocket-Protocol", &detail)
        }
        Refusal::Body => invalid("Content-Length", "The request that opens a WebSocket has no body."),
        Refusal::Key => invalid("Sec-WebSocket-Key", "Sec-WebSocket-Key must be 16 bytes in base64."),
    }
}

/// With what to upgrade to: for HTTP/1.1 only.
fn upgrade(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response
}
