use std::convert::Infallible;
use std::sync::Arc;

use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};

use super::ListenerState;
use crate::request::{ConnectionInfo, Response, body, mark};
use crate::socket::SocketState;
use crate::unread::RequestBody;

impl ListenerState {
    /// The routes, as hyper calls them: each request is told what it may know of its connection,
    /// and what a route leaves of a body is read.
    pub(crate) fn service(
        &self,
        socket: Arc<SocketState>,
        info: ConnectionInfo,
    ) -> impl Service<
        http::Request<Incoming>,
        Response = Response,
        Error = Infallible,
        Future: Future<Output = Result<Response, Infallible>> + Send + Unpin + 'static,
    > + Unpin
    + use<> {
        let (routes, bounds) = (self.routes.clone(), self.bounds.clone());
        let header_bytes = self.options.header_bytes;
        service_fn(move |request: http::Request<Incoming>| {
            let (mut parts, incoming) = request.into_parts();
            let (incoming, arrival) = RequestBody::new(incoming, &parts.headers);
            socket.request_began();
            let http1 = info.takeover.as_ref().map(|takeover| takeover.request_began(Arc::clone(&arrival)));
            parts.extensions.insert(info.clone());
            mark(&mut parts, header_bytes);
            let answer = routes.answer(http::Request::from_parts(parts, body(incoming)));
            let bounds = bounds.clone();
            answer.map(move |mut response| {
                arrival.answered(response.headers_mut(), &bounds, http1.is_some());
                Ok(response)
            })
        })
    }
}
