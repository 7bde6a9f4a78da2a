//! A stream that goes on for ever: reconnects with backoff, and resumes where it was.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use rand::Rng as _;
use reqwest::{Response, StatusCode, header};
use sse_stream::{Sse, SseByteStream};

use crate::cli::Gateway;

/// Until the gateway says another one.
const RETRY: Duration = Duration::from_secs(2);
/// Waits grow no further than this, or than what the gateway asks for.
const LONGEST: Duration = Duration::from_secs(30);
/// Four heartbeats: a stream that is silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);

type Blocks = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

/// What is to be received.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) topics: Vec<String>,
    /// Start after this id.
    pub(crate) last_id: Option<String>,
    /// Without an id: start with the last so many events.
    pub(crate) replay: Option<u32>,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Update {
    /// A stream is open.
    Open,
    /// A block arrived. It may be an id alone; the place is kept here.
    Block(Sse),
    /// The stream ended, or none came about. The next one is tried after `wait`.
    Lost { why: String, wait: Duration },
    /// The gateway says that there will be nothing (204).
    Over,
}

/// An answer that trying again won't change.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {detail}")]
pub(crate) struct Refused {
    status: StatusCode,
    detail: String,
}

/// One client's side of a stream, over all its connections.
pub(crate) struct Subscription {
    http: reqwest::Client,
    gateway: Gateway,
    wish: Wish,
    retry: Duration,
    /// Attempts in a row that brought no block.
    failures: u32,
    wait: Option<Duration>,
    stream: Option<Blocks>,
}

impl Subscription {
    pub(crate) fn new(gateway: Gateway, wish: Wish) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).build()?;
        Ok(Self { http, gateway, wish, retry: RETRY, failures: 0, wait: None, stream: None })
    }

    /// The id to resume after.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.wish.last_id.as_deref()
    }

    /// Waits for the next thing to happen. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Update, Refused> {
        let Some(stream) = &mut self.stream else {
            if let Some(wait) = self.wait {
                tokio::time::sleep(wait).await;
                self.wait = None;
            }
            return self.connect().await;
        };
        Ok(match stream.next().await {
            Some(Ok(block)) => {
                self.failures = 0;
                self.keep_place(&block);
                Update::Block(block)
            }
            Some(Err(error)) => self.lost(chain(&error)),
            None => self.lost("the gateway closed the stream".into()),
        })
    }

    async fn connect(&mut self) -> Result<Update, Refused> {
        let mut url = self.gateway.endpoint("/v1/events");
        for topic in &self.wish.topics {
            url.query_pairs_mut().append_pair("topic", topic);
        }
        if let (None, Some(replay)) = (&self.wish.last_id, self.wish.replay) {
            url.query_pairs_mut().append_pair("replay", &replay.to_string());
        }
        let mut request =
            self.gateway.authorize(self.http.get(url)).header(header::ACCEPT, "text/event-stream");
        if let Some(id) = &self.wish.last_id {
            request = request.header("Last-Event-ID", id);
        }
        match request.send().await {
            Ok(response) => self.opened(response).await,
            Err(error) => Ok(self.lost(unanswered(&self.gateway.url, &error))),
        }
    }

    async fn opened(&mut self, response: Response) -> Result<Update, Refused> {
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let events = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        match status {
            StatusCode::NO_CONTENT => Ok(Update::Over),
            StatusCode::OK if events => {
                self.stream = Some(Box::pin(SseByteStream::new(response.bytes_stream())));
                Ok(Update::Open)
            }
            StatusCode::OK => Err(Refused {
                status,
                detail: "the answer is no event stream: is this the URL of a gateway?".into(),
            }),
            _ if worth_another_try(status) => Ok(self.lost(problem(response).await)),
            _ => Err(Refused { status, detail: problem(response).await }),
        }
    }

    fn keep_place(&mut self, block: &Sse) {
        if let Some(id) = block.id.as_ref().filter(|id| !id.contains('\0')) {
            // An empty id means: from now on no place is known.
            self.wish.last_id = (!id.is_empty()).then(|| id.clone());
        }
        if let Some(millis) = block.retry {
            self.retry = Duration::from_millis(millis);
        }
    }

    fn lost(&mut self, why: String) -> Update {
        self.stream = None;
        let wait = backoff(self.retry, self.failures, rand::rng().random_range(0.75..1.25));
        self.failures = self.failures.saturating_add(1);
        self.wait = Some(wait);
        Update::Lost { why, wait }
    }
}

/// After a stream that worked: what the gateway asked for, which is another time for each client. Then doubled each time, with jitter.
fn backoff(retry: Duration, failures: u32, jitter: f64) -> Duration {
    match failures {
        0 => retry,
        failures => {
            let doubled = retry.max(Duration::from_millis(100)).saturating_mul(1 << failures.min(16));
            doubled.min(LONGEST.max(retry)).mul_f64(jitter)
        }
    }
}

fn worth_another_try(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
        || status.is_server_error()
}

/// What a problem+json answer says, and about which field; or the status.
pub(crate) async fn problem(response: Response) -> String {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    match (body["field"].as_str(), body["detail"].as_str().or(body["title"].as_str())) {
        (Some(field), Some(detail)) => format!("{field}: {detail}"),
        (None, Some(detail)) => detail.to_owned(),
        (_, None) => status.to_string(),
    }
}

/// Why there is no answer at all. Shows no more of the URL than where it leads: there may be a password in it.
pub(crate) fn unanswered(url: &reqwest::Url, error: &reqwest::Error) -> String {
    if !error.is_connect() {
        return chain(error);
    }
    let place = url.origin().ascii_serialization();
    let reason = causes(error).last().map_or_else(|| error.to_string(), ToString::to_string);
    format!("no gateway answers at {place}: is it running? ({reason})")
}

/// An error with its causes: reqwest keeps the interesting part there.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    causes(error).fold(error.to_string(), |said, cause| {
        let cause = cause.to_string();
        if said.contains(&cause) { said } else { format!("{said}: {cause}") }
    })
}

fn causes(error: &dyn std::error::Error) -> impl Iterator<Item = &dyn std::error::Error> {
    std::iter::successors(error.source(), |cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound() {
        let retry = Duration::from_secs(2);
        assert_eq!(backoff(retry, 0, 1.2), retry);
        assert_eq!(backoff(retry, 1, 1.0), Duration::from_secs(4));
        assert_eq!(backoff(retry, 1, 0.75), Duration::from_secs(3));
        assert_eq!(backoff(retry, 9_999, 1.0), LONGEST);
        assert_eq!(backoff(Duration::from_secs(90), 5, 1.0), Duration::from_secs(90));
        assert!(backoff(Duration::ZERO, 3, 1.0) > Duration::ZERO);
    }
}
