//! A quiet stream over time: do heartbeats come, and who ends it.

use std::time::Duration;

use tokio::time::Instant;

use super::blocks::Block;
use super::proxy::{self, Ill};
use super::report::Report;
use super::visit::{Live, Next, Visit};

/// The longest silence of a gateway with default settings: 15 s and a tenth.
const HEARTBEAT: Duration = Duration::from_millis(16_500);
/// Blocks that come closer together than this were held back: a quiet stream has none.
const LUMP: Duration = Duration::from_millis(500);
/// How near to a known limit a cut must be to be its.
const NEAR: Duration = Duration::from_millis(700);

/// Ends of silence that have a name.
const IDLE: [(u64, &str); 8] = [
    (30, "CloudFront's origin response timeout"),
    (50, "HAProxy's `timeout server` as many examples have it"),
    (55, "Heroku's router"),
    (60, "nginx' proxy_read_timeout or an ALB's idle_timeout, as they are by default"),
    (100, "Cloudflare's limit"),
    (230, "Azure App Service's limit"),
    (240, "Azure's load balancer"),
    (350, "an AWS network load balancer's limit"),
];
/// The same for the whole time of a request, however much is sent.
const TOTAL: [(u64, &str); 3] = [
    (15, "Envoy's route timeout, as it is by default"),
    (29, "AWS API Gateway's limit"),
    (30, "Google's backend service timeout, as it is by default"),
];

/// Watches a stream on which nothing is published.
pub(super) async fn check(visit: &Visit, time: Duration, report: &mut Report) {
    let Some((mut live, _)) = visit.ready(None).await else {
        report.problem("heartbeat", "no stream came to be watched", vec![]);
        return;
    };
    report.wait(&format!("… watching a quiet stream for {} s", time.as_secs()));
    let until = live.answered + time;
    let mut silences = Silences { last: live.heard, longest: Duration::ZERO, beats: Vec::new(), events: 0 };
    loop {
        match live.next(until).await {
            Next::Block(block) if block.is("closing") => {
                let reason = block.field("reason").unwrap_or_default();
                let age = (block.at - live.answered).as_secs_f64();
                report.note(
                    "timeout",
                    format!("after {age:.1} s the gateway ended the stream itself: {reason}"),
                );
                break;
            }
            Next::Block(block) => silences.heard(&block),
            Next::Quiet => {
                let said = format!(
                    "still open after {} s; a time-out longer than the silence between heartbeats can't be seen, and does no harm",
                    time.as_secs()
                );
                report.ok("timeout", said);
                break;
            }
            Next::Ended => {
                cut(&live, report);
                break;
            }
        }
    }
    silences.tell(&live, report);
}

/// What was heard in between.
struct Silences {
    last: Instant,
    longest: Duration,
    /// When heartbeats came.
    beats: Vec<Instant>,
    events: usize,
}

impl Silences {
    fn heard(&mut self, block: &Block) {
        self.longest = self.longest.max(block.at - self.last);
        self.last = block.at;
        match (&block.id, &block.data) {
            // An id alone comes together with a heartbeat.
            (Some(_), None) => {}
            (None, data) if data.as_ref().is_none_or(String::is_empty) => self.beats.push(block.at),
            _ => self.events += 1,
        }
    }

    fn tell(&self, live: &Live, report: &mut Report) {
        let longest = self.longest.max(Instant::now() - self.last);
        let (count, seconds) = (self.beats.len(), longest.as_secs_f64());
        let gaps: Vec<Duration> = self.beats.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let held_back = |said: String, report: &mut Report| {
            report.problem(
                "buffering",
                said,
                proxy::advice(Ill::Buffering, &proxy::seen(live.response.headers())),
            );
        };
        if gaps.iter().any(|gap| *gap < LUMP) {
            let said = format!(
                "{count} heartbeats, some of them at once, after {seconds:.1} s of silence: somebody collects them"
            );
            held_back(said, report);
        } else if count > 0 {
            report.ok("heartbeat", format!("{count} seen; the longest silence was {seconds:.1} s"));
        } else if self.events > 0 {
            let said = format!(
                "none, but {} events: heartbeats come only in silence. The longest was {seconds:.1} s",
                self.events
            );
            report.note("heartbeat", said);
        } else if longest > HEARTBEAT * 2 {
            held_back(
                format!("no heartbeat in {seconds:.1} s: they are held back, or stream.heartbeat is longer"),
                report,
            );
        } else {
            report.note("heartbeat", format!("none in {seconds:.1} s, which is too short to say anything"));
        }
    }
}

fn cut(live: &Live, report: &mut Report) {
    let now = Instant::now();
    let (silence, age) = (now - live.heard, now - live.answered);
    let near = |known: &[(u64, &'static str)], time: Duration| {
        known.iter().find(|(secs, _)| time.abs_diff(Duration::from_secs(*secs)) < NEAR).map(|(_, name)| *name)
    };
    // Heartbeats came and it was ended all the same: what counts is how long it had been open.
    let by_age = age.saturating_sub(silence) > Duration::from_secs(5);
    let (said, known) = if by_age && near(&IDLE, silence).is_none() {
        let said = format!(
            "cut {:.1} s after it was opened, {:.1} s after the last byte",
            age.as_secs_f64(),
            silence.as_secs_f64()
        );
        (said, near(&TOTAL, age))
    } else {
        (format!("cut after {:.1} s of silence", silence.as_secs_f64()), near(&IDLE, silence))
    };
    let said = known.map_or(said.clone(), |name| format!("{said}: that is {name}"));
    let mut advice = proxy::advice(Ill::Timeout, &proxy::seen(live.response.headers()));
    if !by_age {
        advice.push(format!(
            "or let heartbeats come sooner: stream.heartbeat = \"{}s\"",
            (silence.as_secs() / 3).max(1)
        ));
    }
    report.problem("timeout", said, advice);
}
