use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tower::{Service, ServiceExt as _};

/// Why a body ended before its end.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A body on its way in or out.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What a route gets.
pub type Request = http::Request<Body>;

pub(crate) type Response = http::Response<Body>;

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What answers requests: any service, made one type at the border, so that what serves connections
/// is compiled once.
#[derive(Clone)]
pub(crate) struct Routes(Arc<dyn Fn(Request) -> Answering + Send + Sync>);

impl Routes {
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request, Response = http::Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(move |request| {
            Box::pin(service.clone().oneshot(request).map(|answer| {
                let Ok(response) = answer;
                response.map(body)
            }))
        }))
    }

    pub(crate) fn answer(&self, request: Request) -> Answering {
        (self.0)(request)
    }
}

/// Any body, as the one type.
pub(crate) fn body<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}
