//! Coming back: whether the last id reaches the gateway, and which nodes answer.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::blocks::Block;
use super::delivery::Sent;
use super::report::Report;
use super::visit::{Next, Visit};

/// Replay follows the ready block at once.
const REPLAY: Duration = Duration::from_secs(3);
/// As many more streams, to see who answers.
const MORE: usize = 4;
/// What no gateway gives as an id: it must be told so.
const NO_ID: &str = "doctor";

/// Comes back with the id that the first stream began with.
pub(super) async fn check(visit: &Visit, ready: &Block, sent: Option<&Sent>, report: &mut Report) {
    let sent = sent.filter(|sent| sent.kept);
    // Where nothing can be replayed, an id that is none tells whether ids arrive at all.
    let id = match (&ready.id, sent) {
        (Some(id), Some(_)) => id.as_str(),
        _ => NO_ID,
    };
    let Some((mut live, _)) = visit.ready(Some(id)).await else {
        report.problem(
            "resume",
            "no stream came with Last-Event-ID",
            vec!["whoever is between must pass this header on".into()],
        );
        return;
    };
    let until = Instant::now() + REPLAY;
    loop {
        match live.next(until).await {
            Next::Block(block) if block.is("reset") => {
                let reason = block.field("reason").unwrap_or_default();
                if id == NO_ID && reason == "malformed" {
                    report.ok("resume", "Last-Event-ID reaches the gateway");
                } else {
                    let advice = "trimmed, expired: raise history.size or ttl; epoch, unknown: do all nodes have the same Redis?";
                    report.problem(
                        "resume",
                        format!("came back, and was told that events are missing: {reason}"),
                        vec![advice.into()],
                    );
                }
                return;
            }
            Next::Block(block) if sent.is_some_and(|sent| sent.is_first(&block)) => {
                report.ok("resume", "came back with Last-Event-ID, and what had been missed was replayed");
                return;
            }
            Next::Block(_) => {}
            Next::Quiet | Next::Ended => break,
        }
    }
    let advice = "let the header through (nginx does by itself; look for allow-lists of headers), or have clients say ?last_event_id=";
    report.problem(
        "resume",
        "came back with Last-Event-ID, but the gateway has not seen it",
        vec![advice.into()],
    );
}

/// Opens a few streams more and says whose they are.
pub(super) async fn nodes(visit: &Visit, ready: &Block, report: &mut Report) {
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    nodes.extend(ready.field("node").map(|node| (node, 1)));
    let mut turned_away = None;
    for _ in 0..MORE {
        match visit.ready(None).await {
            Some((_, block)) if block.is("ready") => {
                *nodes.entry(block.field("node").unwrap_or_default()).or_default() += 1;
            }
            Some((_, block)) => turned_away = block.field("reason"),
            None => turned_away = Some("no stream".into()),
        }
    }
    if let Some(reason) = turned_away {
        report.note("nodes", format!("not every stream was let in: {reason}"));
    }
    let list: Vec<String> = nodes.iter().map(|(node, count)| format!("{node} ({count})")).collect();
    let many = if nodes.len() == 1 { "one node answers" } else { "several nodes answer" };
    report.ok("nodes", format!("{many}: {}", list.join(", ")));
}
