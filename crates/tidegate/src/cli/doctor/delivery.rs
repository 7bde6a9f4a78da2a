//! Events on their way: whether each comes by itself, and when.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::blocks::Block;
use super::proxy::{self, Ill};
use super::report::Report;
use super::visit::{Live, Next, PATIENCE, Visit, send};
use crate::client::problem;

const EVENT: &str = "doctor-probe";
/// So many events, so far apart: what arrives closer together was held back.
const COUNT: usize = 3;
const APART: Duration = Duration::from_millis(400);
/// No network takes so long.
const LATE: Duration = Duration::from_secs(1);

/// What was published, for the resume to find again.
pub(super) struct Sent {
    mark: String,
    /// The events can be replayed.
    pub(super) kept: bool,
}

/// Publishes a few events and waits for them on the stream. `None`: none was published.
pub(super) async fn check(visit: &Visit, mut live: Live, report: &mut Report) -> Option<Sent> {
    let mark = format!("{:016x}", rand::random::<u64>());
    let mut arrived = vec![None; COUNT];
    let published = {
        let mut publishing = std::pin::pin!(publish(visit, &mark));
        loop {
            tokio::select! {
                done = &mut publishing => break done,
                next = live.next(Instant::now() + PATIENCE) => match next {
                    Next::Block(block) => note(&mark, &block, &mut arrived),
                    Next::Quiet => {}
                    Next::Ended => break publishing.await,
                },
            }
        }
    };
    let (times, receipt) = match published {
        Ok(published) => published,
        Err(answer) => {
            refused(answer, report).await;
            return None;
        }
    };
    if receipt["nodes"] == 0 {
        let said = "the gateway that took the events knows no listener: publishing and receiving lead to different clusters";
        let advice = "check that all gateways behind this URL have the same redis.url and redis.prefix";
        report.problem("delivery", said, vec![advice.into()]);
        return None;
    }
    let until = Instant::now() + PATIENCE;
    while arrived.iter().any(Option::is_none)
        && let Next::Block(block) = live.next(until).await
    {
        note(&mark, &block, &mut arrived);
    }
    judge(&times, &arrived, &proxy::seen(live.response.headers()), report);
    Some(Sent { kept: receipt["id"].is_string(), mark })
}

/// When each was sent, and the last receipt; or the first answer that is no receipt.
async fn publish(visit: &Visit, mark: &str) -> Result<(Vec<Instant>, Value), Option<Response>> {
    let (mut times, mut receipt) = (Vec::new(), Value::Null);
    for n in 0..COUNT {
        let now = Instant::now();
        times.push(now);
        let event = json!({ "topic": visit.topic, "event": EVENT, "data": { "doctor": mark, "n": n } });
        let answer = send(visit.request(Method::POST, "/v1/publish").json(&event)).await.map_err(|_| None)?;
        if answer.status() != StatusCode::OK {
            return Err(Some(answer));
        }
        receipt = answer.json().await.unwrap_or_default();
        tokio::time::sleep_until(now + APART).await;
    }
    Ok((times, receipt))
}

fn note(mark: &str, block: &Block, arrived: &mut [Option<Instant>]) {
    if let Some(place) = number(mark, block).and_then(|n| arrived.get_mut(n)) {
        *place = Some(block.at);
    }
}

/// Which of the published events a block is.
fn number(mark: &str, block: &Block) -> Option<usize> {
    let value: Value = serde_json::from_str(block.data.as_deref()?).ok()?;
    let number = usize::try_from(value["n"].as_u64()?).ok()?;
    (value["doctor"] == mark).then_some(number)
}

impl Sent {
    /// Whether a block is the first of the published events.
    pub(super) fn is_first(&self, block: &Block) -> bool {
        number(&self.mark, block) == Some(0)
    }
}

async fn refused(answer: Option<Response>, report: &mut Report) {
    match answer {
        Some(answer) if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            let detail = problem(answer).await;
            report.note("delivery", format!("not allowed to publish, so nothing was ({detail})"));
        }
        Some(answer) => {
            let status = answer.status();
            let detail = problem(answer).await;
            let advice =
                "POST /v1/publish has to reach the gateway under the same URL; otherwise say --no-publish";
            report.problem("delivery", format!("not published: {status}: {detail}"), vec![advice.into()]);
        }
        None => {
            report.problem("delivery", "a publish was not answered", vec!["see the gateway's log".into()]);
        }
    }
}

fn judge(sent: &[Instant], arrived: &[Option<Instant>], seen: &[proxy::Proxy], report: &mut Report) {
    let arrivals: Vec<Instant> = arrived.iter().copied().flatten().collect();
    if arrivals.len() < COUNT {
        let said = format!(
            "of {COUNT} published events {} arrived in {} s: the rest is held back",
            arrivals.len(),
            PATIENCE.as_secs()
        );
        report.problem("buffering", said, proxy::advice(Ill::Buffering, seen));
        return;
    }
    let delays: Vec<Duration> =
        sent.iter().zip(&arrivals).map(|(sent, arrived)| arrived.saturating_duration_since(*sent)).collect();
    let (least, most) =
        (delays.iter().min().copied().unwrap_or_default(), delays.iter().max().copied().unwrap_or_default());
    let lump = arrivals.last().zip(arrivals.first()).is_some_and(|(last, first)| *last - *first < APART / 2);
    if lump {
        let said = format!(
            "{COUNT} events, published {} ms apart, came all at once: somebody collects them",
            APART.as_millis()
        );
        report.problem("buffering", said, proxy::advice(Ill::Buffering, seen));
    } else if most > LATE {
        let said = format!("an event took {} ms", most.as_millis());
        report.problem("delivery", said, vec!["compare tidegate_publish_seconds and tidegate_delivery_seconds of the nodes: Redis, or their CPU".into()]);
    } else {
        let said = format!(
            "{COUNT} events, each by itself, {} to {} ms after it was sent",
            least.as_millis(),
            most.as_millis()
        );
        report.ok("delivery", said);
    }
}
