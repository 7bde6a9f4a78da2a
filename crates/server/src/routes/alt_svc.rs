use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use http::{HeaderValue, Version, header};

use crate::app::App;

/// How long a client may remember it: a day. One that meets no HTTP/3 there any more stays on TCP
/// by itself.
const MAX_AGE: u32 = 86_400;

/// Tells clients that come over TCP that the same is to be had over HTTP/3, on UDP `port`. A node
/// that goes away says nothing.
pub fn advertise(router: Router, app: App, port: u16) -> Router {
    let Ok(value) = HeaderValue::try_from(format!("h3=\":{port}\"; ma={MAX_AGE}")) else { return router };
    router.layer(from_fn(move |request: Request, next: Next| {
        let value = (request.version() < Version::HTTP_3 && !app.draining()).then(|| value.clone());
        async move {
            let mut response = next.run(request).await;
            if let Some(value) = value {
                response.headers_mut().insert(header::ALT_SVC, value);
            }
            response
        }
    }))
}
