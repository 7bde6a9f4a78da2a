//! Expected against received, for each client, and whose doing it was.

use std::collections::BTreeSet;

use super::client::{Client, Heard};
use super::faults::Happened;
use super::ledger::{Odd, Reset, Seen, Sent};
use super::schedule::Fault;

/// An event that was on its way for longer has met a fault.
const LATE: u64 = 1_000_000;

/// All that is judged. Times are microseconds since the start.
pub(super) struct Evidence<'a> {
    pub(super) sent: &'a [Vec<Sent>],
    pub(super) clients: &'a [Client],
    pub(super) seen: &'a [Seen],
    pub(super) happened: &'a [Happened],
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Before the first fault; then one for each.
    pub(super) windows: Vec<Window>,
    pub(super) expected: u64,
    pub(super) received: u64,
    /// Clients that were not told of lost data, with the topic.
    pub(super) untold: Vec<(usize, String)>,
    /// Told although nothing was lost.
    pub(super) groundless: u64,
    pub(super) stray: u64,
    /// The first of what should not be: who, when, what.
    pub(super) first: Option<(usize, u64, String)>,
}

/// From one fault to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) hit: BTreeSet<usize>,
    pub(super) events: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
    pub(super) resets: u64,
    /// Not come, but gone with Redis' data, and the client was told so.
    pub(super) told: u64,
    /// Come twice, because the key of a publish under way had gone with Redis' data.
    pub(super) forgotten: u64,
    /// The longest way of an event, from its first attempt.
    pub(super) worst: u64,
}

impl Verdict {
    pub(super) fn of(evidence: &Evidence<'_>) -> Self {
        let mut verdict =
            Self { windows: vec![Window::default(); evidence.happened.len() + 1], ..Self::default() };
        for event in evidence.sent.iter().flatten() {
            verdict.windows[evidence.window(event.first)].events += 1;
        }
        for (number, (client, seen)) in evidence.clients.iter().zip(evidence.seen).enumerate() {
            for (heard, arrivals) in client.topics.iter().zip(&seen.arrivals) {
                verdict.events(evidence, number, heard, arrivals, seen);
            }
            verdict.odd(evidence, number, seen);
            verdict.resets(evidence, number, client, seen);
            verdict.stray += seen.stray;
            for hit in &seen.hits {
                verdict.windows[evidence.window(*hit)].hit.insert(number);
            }
        }
        verdict
    }

    pub(super) fn sum(&self, of: impl Fn(&Window) -> u64) -> u64 {
        self.windows.iter().map(of).sum()
    }

    fn events(
        &mut self,
        evidence: &Evidence<'_>,
        client: usize,
        heard: &Heard,
        arrivals: &[Option<u64>],
        seen: &Seen,
    ) {
        for (number, event) in evidence.sent[heard.source as usize].iter().enumerate() {
            let window = evidence.window(event.first);
            if let Some(at) = arrivals.get(number).copied().flatten() {
                self.expected += 1;
                self.received += 1;
                let way = at.saturating_sub(event.first);
                let window = &mut self.windows[window];
                window.worst = window.worst.max(way);
                if way > LATE {
                    window.hit.insert(client);
                }
                continue;
            }
            let told = seen.resets.iter().any(|reset| {
                reset.names(&heard.topic) && evidence.gone(event, reset) && {
                    // Whoever was there all the time has had it before it went.
                    seen.was_away(event.first, reset.at) || evidence.under_way(event)
                }
            });
            if told {
                self.windows[window].told += 1;
            } else {
                self.expected += 1;
                self.windows[window].lost += 1;
                self.blame(client, event.first, || {
                    let near = |at: Option<usize>| {
                        let came = at.and_then(|at| arrivals.get(at).copied().flatten());
                        came.map_or("never".to_owned(), |at| format!("at {}", clock(at)))
                    };
                    format!(
                        "{} #{number} never came: first tried at {}, taken {}; #{} came {}, #{} {}",
                        heard.topic,
                        clock(event.first),
                        event.taken.map_or("never".to_owned(), |at| format!("at {}", clock(at))),
                        number as i64 - 1,
                        near(number.checked_sub(1)),
                        number + 1,
                        near(Some(number + 1)),
                    )
                });
            }
        }
    }

    /// What came twice or too late.
    fn odd(&mut self, evidence: &Evidence<'_>, client: usize, seen: &Seen) {
        let say = |odd: &Odd, what: &str| {
            format!("source {} #{} {what} at {}", odd.source, odd.number, clock(odd.at))
        };
        for odd in &seen.again {
            let window = evidence.window(odd.at);
            if evidence.forgotten(odd) {
                self.windows[window].forgotten += 1;
            } else {
                self.windows[window].doubled += 1;
                self.blame(client, odd.at, || say(odd, "came again"));
            }
        }
        for odd in &seen.late {
            self.windows[evidence.window(odd.at)].reordered += 1;
            self.blame(client, odd.at, || say(odd, "came after a later one"));
        }
    }

    fn resets(&mut self, evidence: &Evidence<'_>, number: usize, client: &Client, seen: &Seen) {
        for reset in &seen.resets {
            let window = &mut self.windows[evidence.window(reset.at)];
            window.resets += 1;
            window.hit.insert(number);
            if !evidence.wiped(reset.at) {
                self.groundless += 1;
                let what = || {
                    format!("a reset ({}) at {}, although nothing was lost", reset.reason, clock(reset.at))
                };
                self.blame(number, reset.at, what);
            }
        }
        for wipe in evidence.wipes() {
            for heard in &client.topics {
                if !seen.resets.iter().any(|reset| reset.at >= wipe.from && reset.names(&heard.topic)) {
                    self.untold.push((number, heard.topic.clone()));
                    let what = || {
                        format!("{}: not told that Redis lost its data at {}", heard.topic, clock(wipe.from))
                    };
                    self.blame(number, wipe.from, what);
                }
            }
        }
    }

    fn blame(&mut self, client: usize, at: u64, what: impl FnOnce() -> String) {
        if self.first.as_ref().is_none_or(|(_, first, _)| at < *first) {
            self.first = Some((client, at, what()));
        }
    }
}

impl Evidence<'_> {
    /// Whose doing it is: 0 is nobody's.
    pub(super) fn window(&self, at: u64) -> usize {
        self.happened.partition_point(|fault| fault.from <= at)
    }

    fn wipes(&self) -> impl Iterator<Item = &Happened> {
        self.happened.iter().filter(|happened| happened.fault == Fault::WipeRedis)
    }

    /// It may have gone with data that the reset speaks of.
    fn gone(&self, event: &Sent, reset: &Reset) -> bool {
        event.first <= reset.at && self.wiped(reset.at)
    }

    /// It was published just before Redis lost its data, or until the nodes had noticed.
    fn under_way(&self, event: &Sent) -> bool {
        self.wipes().any(|wipe| event.taken.is_none_or(|taken| taken + LATE >= wipe.from))
    }

    /// Redis had lost its data by then.
    fn wiped(&self, at: u64) -> bool {
        self.wipes().any(|wipe| wipe.from <= at)
    }

    /// It was under way when Redis lost its data, and with it the key that would have told it from another.
    fn forgotten(&self, odd: &Odd) -> bool {
        let sent = self.sent[odd.source as usize].get(odd.number as usize);
        sent.is_some_and(|sent| {
            self.wipes()
                .any(|wipe| sent.first <= wipe.mended && sent.taken.is_none_or(|taken| taken >= wipe.from))
        })
    }
}

/// As in the log.
pub(super) fn clock(micros: u64) -> String {
    format!("{:.3} s", micros as f64 / 1e6)
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
