//! Whole requests through the routes of a gateway that is open, or has keys (an odd number of bytes): a request line, headers, an empty line, a body.

use std::cell::RefCell;
use std::pin::pin;

use axum::Router;
use axum::body::Body;
use futures_util::future::{Either, select};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use prometheus::Registry;
use tidegate_auth::{ApiKey, Authenticator, Mode};
use tidegate_broker::{Local, LocalOptions};
use tidegate_hub::Hub;
use tidegate_server::{App, Metrics, Options, public};
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// After so many requests there is a new gateway: topics and memberships would pile up.
const LIFE: u32 = 2_000;

struct Gateway {
    runtime: Runtime,
    hub: Hub,
    open: Router,
    keyed: Router,
    left: u32,
}

thread_local! {
    static GATEWAY: RefCell<Option<Gateway>> = const { RefCell::new(None) };
}

pub fn run(input: &[u8]) {
    let Some(request) = request(input) else { return };
    GATEWAY.with_borrow_mut(|slot| {
        let gateway = slot.get_or_insert_with(Gateway::start);
        let router = if input.len() % 2 == 1 { &gateway.keyed } else { &gateway.open };
        gateway.runtime.block_on(answer(router.clone(), request));
        gateway.left -= 1;
        if gateway.left == 0 {
            gateway.hub.stop();
            *slot = None;
        }
    });
}

async fn answer(router: Router, request: Request<Body>) {
    let head = *request.method() == http::Method::HEAD;
    let Ok(mut response) = router.oneshot(request).await;
    let status = response.status();
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    if kind.as_deref() == Some("text/event-stream") {
        assert_eq!(status, StatusCode::OK);
        if !head {
            let first = soon(response.body_mut().frame()).await;
            let first = first.expect("a first block at once").unwrap().unwrap().into_data().unwrap();
            assert!(first.starts_with(b"retry: "), "{first:?}");
        }
        return;
    }
    // A poll waits for events that nobody publishes.
    let Some(body) = soon(response.into_body().collect()).await else { return };
    let body = body.unwrap().to_bytes();
    if status.is_client_error() && !head {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{status}");
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["status"], status.as_u16());
    }
}

/// What comes without waiting, after the gateway's tasks had their turn.
async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
    let turns = async {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    };
    match select(pin!(future), pin!(turns)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

fn request(input: &[u8]) -> Option<Request<Body>> {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((input, &b""[..]), |end| (&input[..end], &input[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.splitn(2, |byte| *byte == b' ');
    let mut request = Request::builder().method(words.next()?).uri(words.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    request.body(Body::from(body.to_vec())).ok()
}

impl Gateway {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let registry = Registry::new();
        let (broker, deliveries) =
            Local::new(LocalOptions::default(), tidegate_broker::Metrics::new(&registry).unwrap());
        let metrics = tidegate_hub::Metrics::new(&registry).unwrap();
        let hub_options = tidegate_hub::Options::default();
        let hub = Hub::start(hub_options, broker.clone(), deliveries, metrics, &Default::default());
        let metrics = Metrics::new(&registry).unwrap();
        let router = |mode: Mode| {
            let api_key = ApiKey {
                name: "backend".into(),
                key: "0123456789abcdef".to_owned().into(),
                publish: vec!["**".into()],
                subscribe: vec!["room:*".into()],
                admin: true,
            };
            let auth = tidegate_auth::Options { mode, api_keys: vec![api_key], ..Default::default() };
            let options = Options {
                cookie: "tidegate_token".into(),
                origins: tidegate_auth::Origins::parse(&["https://app.example"]).unwrap(),
                topics: 100,
                ..Options::default()
            };
            let auth = Authenticator::new(&auth).unwrap();
            public(App::new(options, auth, broker.clone(), hub.clone(), metrics.clone()), Vec::new())
        };
        let (open, keyed) = (router(Mode::Open), router(Mode::Keys));
        drop(_inside);
        Self { runtime, hub, open, keyed, left: LIFE }
    }
}
