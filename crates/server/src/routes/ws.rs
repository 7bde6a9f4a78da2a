//! `/v1/ws`: WebSocket, by HTTP/1.1 Upgrade and by HTTP/2 extended CONNECT.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tidegate_protocol::Format;

use crate::admission::Refused;
use crate::app::App;
use crate::connection::Connection;
use crate::h2;
use crate::problem::Problem;
use crate::receive::{self, Wish};
use crate::stream::Counted;
use crate::ws::{self, Handshake, Session, Way};

pub(super) async fn open(State(app): State<App>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let handshake = match Handshake::of(&parts) {
        Ok(handshake) => handshake,
        Err(refusal) => return refusal,
    };
    let session = match session(app, &parts, handshake).await {
        Ok(session) => session,
        // A client of a WebSocket is told by the status, for it has no stream yet on which it could be told.
        Err(problem) => return problem.into_response(),
    };
    match handshake.way {
        Way::Upgrade(_) => {
            let connection = parts.extensions.get::<Connection>();
            let Some(driver) = connection.and_then(|connection| connection.driver.as_ref()) else {
                return Problem::internal().into_response();
            };
            driver.upgrade(session);
        }
        Way::Connect => {
            let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() else {
                return Problem::internal().into_response();
            };
            let bound = h2::bind();
            // Short-lived: ends with the connection at the latest, which is waited for.
            tokio::spawn(async move {
                if let Ok(upgraded) = upgrade.await {
                    ws::run(TokioIo::new(upgraded), Bytes::new(), session, bound).await;
                }
            });
        }
    }
    ws::accept(handshake)
}

async fn session(app: App, parts: &Parts, handshake: Handshake) -> Result<Box<Session>, Problem> {
    let wish = Wish::of(&parts.headers, &parts.uri, "last_event_id")?;
    let who = receive::identify(&app, parts).await?.ok_or_else(Problem::no_keys)?;
    let join = receive::join(&app, &who, wish, Format::Json)?;
    let place = app.admission.enter(parts).map_err(Refused::problem)?;
    let subscription = app.hub.join(join).await.map_err(|error| receive::refused(&app, &error))?;
    let transport = match handshake.way {
        Way::Upgrade(_) => "ws-h1",
        Way::Connect => "ws-h2",
    };
    let counted = Counted::new(app.metrics.connections.with_label_values(&[transport]), place);
    Ok(Box::new(Session { app, who, subscription, _counted: counted }))
}
