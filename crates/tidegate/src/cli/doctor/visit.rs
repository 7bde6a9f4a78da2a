//! Streams and requests, with their times.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use tokio::time::{Instant, timeout, timeout_at};

use super::Doctor;
use super::blocks::{Block, Blocks};
use crate::cli::Gateway;

/// What has not come by then is held back somewhere: a gateway itself needs 5 s at most, when its Redis is away.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// What browsers ask for.
const ENCODINGS: &str = "gzip, deflate, br, zstd";

/// Where the doctor goes, and as whom.
pub(super) struct Visit {
    http: reqwest::Client,
    pub(super) gateway: Gateway,
    pub(super) topic: String,
}

/// An open stream.
pub(super) struct Live {
    pub(super) response: Response,
    /// When it was asked for.
    pub(super) asked: Instant,
    /// When its head was here.
    pub(super) answered: Instant,
    /// When its last byte came.
    pub(super) heard: Instant,
    blocks: Blocks,
    waiting: VecDeque<Block>,
}

/// What happens next on a stream.
pub(super) enum Next {
    Block(Block),
    /// Nothing in time.
    Quiet,
    Ended,
}

/// Why there is no answer.
pub(super) enum Failed {
    Error(reqwest::Error),
    /// Nothing in time.
    Silent,
}

impl Visit {
    pub(super) fn new(args: &Doctor) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let gateway = Gateway { url: args.url.clone(), token: args.token.clone() };
        let topic = args.topic.clone().unwrap_or_else(|| format!("doctor:{:08x}", rand::random::<u32>()));
        Ok(Self { http, gateway, topic })
    }

    /// A request without the credential, to somewhere else.
    pub(super) fn bare(&self, url: reqwest::Url) -> RequestBuilder {
        self.http.get(url)
    }

    /// A request with the credential.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.gateway.authorize(self.http.request(method, self.gateway.endpoint(path)))
    }

    /// A request for the stream, as a browser would make it.
    pub(super) fn wish(&self, method: Method) -> RequestBuilder {
        let mut url = self.gateway.endpoint("/v1/events");
        url.query_pairs_mut().append_pair("topic", &self.topic);
        self.gateway.authorize(self.http.request(method, url)).header(header::ACCEPT, "text/event-stream")
    }

    /// Opens the stream; `compressed`: if whoever is between likes.
    pub(super) async fn open(&self, compressed: bool, last_id: Option<&str>) -> Result<Live, Failed> {
        let encoding = if compressed { ENCODINGS } else { "identity" };
        let mut request = self.wish(Method::GET).header(header::ACCEPT_ENCODING, encoding);
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let asked = Instant::now();
        let response = send(request).await?;
        let now = Instant::now();
        let (blocks, waiting) = (Blocks::default(), VecDeque::new());
        Ok(Live { response, asked, answered: now, heard: now, blocks, waiting })
    }

    /// Opens the stream and waits for its first block.
    pub(super) async fn ready(&self, last_id: Option<&str>) -> Option<(Live, Block)> {
        let mut live = self.open(false, last_id).await.ok()?;
        match live.next(Instant::now() + PATIENCE).await {
            Next::Block(block) if live.response.status() == StatusCode::OK => Some((live, block)),
            _ => None,
        }
    }
}

/// The answer's head, in time.
pub(super) async fn send(request: RequestBuilder) -> Result<Response, Failed> {
    match timeout(PATIENCE, request.send()).await {
        Ok(answer) => answer.map_err(Failed::Error),
        Err(_) => Err(Failed::Silent),
    }
}

impl Live {
    pub(super) async fn next(&mut self, until: Instant) -> Next {
        loop {
            if let Some(block) = self.waiting.pop_front() {
                return Next::Block(block);
            }
            match timeout_at(until, self.response.chunk()).await {
                Err(_) => return Next::Quiet,
                Ok(Ok(Some(bytes))) => {
                    self.heard = Instant::now();
                    self.waiting.extend(self.blocks.feed(&bytes, self.heard));
                }
                Ok(_) => return Next::Ended,
            }
        }
    }

    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }
}
