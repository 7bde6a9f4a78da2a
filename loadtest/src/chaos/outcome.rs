//! The chaos in figures: the table of faults, and the story of the first client that has something to complain about.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::rolling::Rolling;
use super::schedule::Fault;
use super::verdict::{Evidence, Verdict, Window, clock};
use crate::process::Machine;
use crate::report::limits::Verdict as Limit;
use crate::report::{Latency, Report, Table, command, round};
use crate::shared::{Count, Shared};
use crate::watch::Sample;

/// What of a client's story is told before and after what happened to it.
const STORY: u64 = 10_000_000;

pub(super) struct Run<'a> {
    pub(super) seed: u64,
    pub(super) began: u64,
    pub(super) machine: Machine,
    pub(super) shared: &'a Shared,
    pub(super) timeline: Vec<Sample>,
    /// Connections that brought it.
    pub(super) garbage: u64,
    /// Of the gateways' logs, and of how they ended.
    pub(super) complaints: Vec<String>,
}

impl Run<'_> {
    pub(super) fn report(self, evidence: &Evidence<'_>) -> Report {
        let verdict = Verdict::of(evidence);
        let latency = Latency::of(&self.shared.measured().delivery);
        let untold: std::collections::BTreeSet<usize> =
            verdict.untold.iter().map(|(client, _)| *client).collect();
        let none = |name, count: u64| Limit::most(name, 0.0, Some(count as f64));
        let limits = vec![
            none("lost", verdict.sum(|window| window.lost)),
            none("doubled", verdict.sum(|window| window.doubled)),
            none("reordered", verdict.sum(|window| window.reordered)),
            none("stray", verdict.stray),
            none("clients not told of lost data", untold.len() as u64),
            none("resets without a loss", verdict.groundless),
            none("complaints", self.complaints.len() as u64),
        ];
        let mut figures = Map::new();
        for (name, value) in [
            ("seed", json!(self.seed)),
            ("clients", json!(evidence.clients.len())),
            ("faults", json!(evidence.happened.len())),
            ("garbage_connections", json!(self.garbage)),
            ("reconnects", json!(self.shared.get(Count::Reconnected))),
            ("resets_told", json!(verdict.sum(|window| window.resets))),
            ("lost_with_the_data_and_told", json!(verdict.sum(|window| window.told))),
            ("doubled_with_the_data", json!(verdict.sum(|window| window.forgotten))),
        ] {
            figures.insert(name.to_owned(), value);
        }
        let mut tables = vec![table(evidence, &verdict, self.garbage)];
        if let Some(rolling) = Rolling::of(evidence) {
            figures.extend(rolling.figures());
            tables.push(rolling.table());
        }
        let mut notes = story(evidence, &verdict);
        notes.extend(self.complaints.iter().take(20).cloned());
        Report {
            scenario: "chaos",
            command: command(),
            began: self.began,
            seconds: round(self.shared.start.elapsed().as_secs_f64()),
            machine: self.machine,
            sent: self.shared.get(Count::Sent),
            expected: verdict.expected,
            received: verdict.received,
            lost: verdict.sum(|window| window.lost),
            doubled: verdict.sum(|window| window.doubled),
            reordered: verdict.sum(|window| window.reordered),
            stray: verdict.stray,
            refused: self.shared.get(Count::Refused),
            latency,
            error_rate: 0.0,
            errors: self.shared.errors(),
            figures,
            tables,
            notes,
            limits,
            processes: vec!["load tester and cluster".to_owned()],
            timeline: self.timeline,
        }
    }
}

/// By fault, all its times together.
fn table(evidence: &Evidence<'_>, verdict: &Verdict, garbage: u64) -> Table {
    let mut kinds: BTreeMap<Option<Fault>, (u64, Window)> = BTreeMap::new();
    let faults = std::iter::once(None).chain(evidence.happened.iter().map(|happened| Some(happened.fault)));
    for (fault, window) in faults.zip(&verdict.windows) {
        let (times, all) = kinds.entry(fault).or_default();
        *times += 1;
        all.hit.extend(&window.hit);
        all.events += window.events;
        all.lost += window.lost;
        all.doubled += window.doubled;
        all.reordered += window.reordered;
        all.resets += window.resets;
        all.told += window.told;
        all.worst = all.worst.max(window.worst);
    }
    let mut rows: Vec<Vec<Value>> = kinds
        .into_iter()
        .map(|(fault, (times, window))| {
            vec![
                json!(fault.map_or("before the first", Fault::name)),
                json!(times),
                json!(window.hit.len()),
                json!(window.events),
                json!(window.lost),
                json!(window.doubled),
                json!(window.reordered),
                json!(window.resets),
                json!(window.told),
                json!(round(window.worst as f64 / 1e3)),
            ]
        })
        .collect();
    if garbage > 0 {
        let mut row = vec![json!(Fault::Garbage.name()), json!(garbage)];
        row.resize(10, Value::Null);
        rows.push(row);
    }
    Table {
        title: "Faults; what happened until the next one is theirs".to_owned(),
        columns: vec![
            "fault",
            "times",
            "clients hit",
            "events",
            "lost",
            "doubled",
            "reordered",
            "resets told",
            "gone with the data, told",
            "worst recovery ms",
        ],
        rows,
    }
}

/// What the first client had and what came, if something is wrong.
fn story(evidence: &Evidence<'_>, verdict: &Verdict) -> Vec<String> {
    let Some((number, at, what)) = &verdict.first else { return Vec::new() };
    let client = &evidence.clients[*number];
    let topics: Vec<String> =
        client.topics.iter().map(|heard| format!("{} (source {})", heard.topic, heard.source)).collect();
    let mut lines = vec![format!("The first: {}, listening to {}: {what}.", client.name, topics.join(", "))];
    let mut all: Vec<(u64, String)> = evidence.seen[*number].story.clone();
    for happened in evidence.happened {
        all.push((happened.from, format!("--- {}", happened.fault.name())));
        all.push((happened.mended, format!("--- mended: {}", happened.fault.name())));
    }
    all.push((*at, "<<< here".to_owned()));
    all.sort_by_key(|(at, _)| *at);
    let near = |told: &&(u64, String)| told.0 + STORY >= *at && told.0 <= *at + STORY;
    lines.extend(all.iter().filter(near).map(|(at, what)| format!("  {:>10}  {what}", clock(*at))));
    lines
}
