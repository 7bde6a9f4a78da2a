//! The routes of API v1.

mod alt_svc;
mod events;
mod health;
mod history;
mod pages;
mod poll;
mod publish;
mod users;
mod ws;

pub use alt_svc::advertise;
pub use events::stream;
pub use poll::wait;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use tidegate_transport::{ConnectionInfo, Unreadable};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::App;
use crate::application::{self, Application};
use crate::extract::{ParsedQuery, caller};
use crate::policy::Refused;
use crate::problem::Problem;

/// What the main listener serves.
pub fn public(app: App, applications: Vec<Application>) -> Router {
    let openapi = application::openapi(pages::OPENAPI, &applications);
    let mut router = Router::new()
        .route("/v1/events", get(events::get).head(events::head).post(events::post))
        .route("/v1/poll", get(poll::get))
        .route("/v1/ws", get(ws::open).connect(ws::open))
        .route("/v1/publish", post(publish::post))
        .route("/v1/topics/{topic}/events", get(history::get).delete(history::delete))
        .route("/v1/topic/events", get(history::get).delete(history::delete))
        .route("/v1/users/{user}/topics", get(users::topics))
        .route("/v1/users/{user}/topics/{topic}", put(users::join).delete(users::leave))
        .route("/v1/users/{user}/topic", put(users::join).delete(users::leave))
        .route("/v1/users/{user}/disconnect", post(users::disconnect))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz_brief))
        .route("/openapi.json", get(|| async { pages::openapi(openapi) }))
        .route("/docs", get(pages::docs));
    if app.options.page {
        router = router.route("/", get(pages::app)).route("/assets/{file}", get(pages::asset));
    }
    let cors = cors(&app);
    let mut streams = vec!["/v1/events"];
    let mut router = router.with_state(app.clone());
    for application in applications {
        tracing::info!(name = application.name, "application mounted");
        streams.extend(application.streams);
        router = router.merge(application.router);
    }
    let gatekeeper = Gatekeeper { app, streams: streams.into() };
    router
        .fallback(any(|| async { Problem::not_found("No such path. /docs lists those there are.") }))
        .method_not_allowed_fallback(|| async { Problem::method() })
        .layer(from_fn_with_state(gatekeeper, gate))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors)
}

/// What the admin listener serves: nothing of it is for the outside.
pub fn admin(app: App) -> Router {
    Router::new()
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/", get(health::index))
        .method_not_allowed_fallback(|| async { Problem::method() })
        .fallback(any(|| async {
            Problem::not_found("The admin listener has /metrics, /healthz and /readyz.")
        }))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app)
}

/// What the gate needs.
#[derive(Clone)]
struct Gatekeeper {
    app: App,
    /// Routes that are streams.
    streams: Arc<[&'static str]>,
}

/// Counts requests, and turns them away on connections over the limit. Streams are let through:
/// they say it in their own way.
async fn gate(
    State(Gatekeeper { app, streams }): State<Gatekeeper>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(ParsedQuery::default());
    let unreadable = request.extensions().get::<Unreadable>().copied();
    let path = path.filter(|_| unreadable.is_none());
    let route = path.as_ref().map_or("none", MatchedPath::as_str).to_owned();
    let overloaded =
        request.extensions().get::<ConnectionInfo>().is_some_and(|connection| connection.overloaded);
    let closing = app.draining() && request.version() <= Version::HTTP_11;
    let mut response = if let Some(Unreadable(status)) = unreadable {
        Problem::unreadable(status, app.options.transport.header_bytes).into_response()
    } else if let Some(refusal) = refusal(&app, &route, &request) {
        refusal.into_response()
    } else if overloaded && !streams.contains(&&*route) && !matches!(&*route, "/healthz" | "/readyz") {
        app.admission.refuse(Refused::Overloaded).problem().into_response()
    } else {
        next.run(request).await
    };
    if closing && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // Proxies that keep connections open let them go before the node does.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    app.metrics.requests.with_label_values(&[&route, response.status().as_str()]).inc();
    response
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that the layer asks for")]
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text =
        cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    tracing::error!(cause = text.unwrap_or("unknown"), "a route panicked: please report this");
    Problem::internal().into_response()
}

/// An open gateway asks for no key, so a page of any site could make its visitors' browsers publish
/// and manage: changes are taken from the gateway's own pages, allowed origins and this machine's
/// only. Programs send no `Origin`. A page whose own name was made to point here would read as it
/// likes, for to its browser the gateway is where it came from: it is known by that name.
///
/// Browsers let pages of any origin open a WebSocket and read it: no CORS holds them back. So what
/// may not read an answer may not open one, with keys as well.
fn refusal(app: &App, route: &str, request: &Request) -> Option<Problem> {
    let websocket = route == "/v1/ws";
    let open = app.auth.is_open();
    if open && app.options.loopback && !caller::named_here(app, request) {
        return Some(Problem::forbidden(
            Some("Host"),
            "Host not allowed: without keys, a gateway on loopback accepts local host names only (DNS rebinding protection). Use localhost, or list the page in cors.origins.",
        ));
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !websocket && (!open || reads) {
        return None;
    }
    let origin = request.headers().get(header::ORIGIN)?;
    let allowed = match caller::origin(app, request.headers(), request.uri()) {
        tidegate_auth::Origin::Same if !open => true,
        // A page whose own host is said to be this gateway's may be a stranger's all the same: a
        // name can be made to point here. Only a gateway that was opened to the network on purpose
        // is known under names that it can't know.
        tidegate_auth::Origin::Same => is_loopback(origin) || !app.options.loopback,
        tidegate_auth::Origin::Allowed => true,
        _ => (open && is_loopback(origin)) || app.options.origins.any(),
    };
    let may_not = if websocket { "open a WebSocket" } else { "change anything" };
    (!allowed).then(|| {
        Problem::forbidden(
            Some("Origin"),
            format!("Pages of this origin may not {may_not} here: see cors.origins."),
        )
    })
}

/// A page served from this machine, on any port: how people develop.
fn is_loopback(origin: &HeaderValue) -> bool {
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map_or("", |(_, host)| host);
    matches!(caller::without_port(host), "localhost" | "127.0.0.1" | "[::1]")
}

fn cors(app: &App) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
        ])
        .allow_headers([
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("idempotency-key"),
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::CONTENT_TYPE,
        ])
        .expose_headers([
            HeaderName::from_static("tidegate-cursor"),
            HeaderName::from_static("tidegate-reset"),
            header::RETRY_AFTER,
            header::CONTENT_TYPE,
        ])
        .vary([header::ORIGIN])
        .max_age(std::time::Duration::from_secs(600));
    if app.options.origins.any() {
        return layer.allow_origin(tower_http::cors::Any);
    }
    let (allowed, open) = (app.options.origins.clone(), app.auth.is_open());
    let allow = AllowOrigin::predicate(move |origin, _| {
        origin.to_str().is_ok_and(|origin| allowed.names(origin)) || (open && is_loopback(origin))
    });
    layer.allow_origin(allow).allow_credentials(true)
}
