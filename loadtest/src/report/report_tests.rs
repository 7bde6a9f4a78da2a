#![allow(clippy::unwrap_used, clippy::expect_used)]
use serde_json::json;

use super::limits::Verdict;
use super::*;
use crate::tally::latencies;

fn sample(t: f64, p99: Option<f64>) -> Sample {
    Sample {
        t,
        p50: p99.map(|value| value / 2.0),
        p90: p99,
        p99,
        max: p99,
        open: 10,
        sent_rate: 3.0,
        received_rate: 30.0,
        errors: 2,
        reconnects: 1,
        cpu: vec![12.5],
        mb: vec![Some(40.0)],
    }
}

/// A run in which one event of thirty was lost.
fn report() -> Report {
    let mut latency = latencies();
    (1..=1_000u64).for_each(|at| latency.record(at * 1_000).unwrap());
    let latency = Latency::of(&latency);
    Report {
        scenario: "burst",
        command: "loadtest burst --publish-body '<&{data}>'".to_owned(),
        began: 1_795_344_001,
        seconds: 2.5,
        machine: Machine { cores: 2, load: "0.10 0.20 0.30".to_owned(), kernel: "6.1".to_owned() },
        sent: 3,
        refused: 0,
        expected: 30,
        received: 29,
        lost: 1,
        doubled: 0,
        reordered: 0,
        stray: 0,
        latency,
        error_rate: 3.33,
        errors: BTreeMap::from([("ended: by the server, drain".to_owned(), 2)]),
        figures: Map::from_iter([("rounds".to_owned(), json!(1)), ("sse".to_owned(), json!({"failed": 1}))]),
        tables: vec![Table {
            title: "Ways".to_owned(),
            columns: vec!["way", "p50"],
            rows: vec![vec![json!("SSE"), json!(205.5)]],
        }],
        notes: vec!["A note.".to_owned()],
        limits: vec![Verdict::most("lost", 0.0, Some(1.0)), Verdict::most("p99 ms", 1e4, latency.p99)],
        processes: vec!["tidegate (7)".to_owned()],
        timeline: vec![sample(1.0, Some(20.0)), sample(2.0, None), sample(2.5, Some(25.0))],
    }
}

#[test]
fn json_is_flat_and_names_what_was_agreed() {
    let json: Value = serde_json::to_value(report()).unwrap();
    let names = "scenario command began seconds machine sent refused expected received lost doubled reordered stray p50 p90 \
                 p95 p99 p999 max error_rate errors figures tables notes limits processes timeline";
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, names.split_whitespace().collect::<Vec<_>>());
    assert_eq!((&json["lost"], &json["p50"], &json["max"]), (&json!(1), &json!(500.0), &json!(1000.0)));
    assert_eq!(json["machine"], json!({ "cores": 2, "load": "0.10 0.20 0.30", "kernel": "6.1" }));
    assert_eq!(json["limits"][0], json!({ "name": "lost", "limit": 0.0, "value": 1.0, "held": false }));
    assert_eq!(json["timeline"][1]["p99"], Value::Null);
    assert_eq!(json["figures"]["sse"]["failed"], 1);
}

#[test]
fn the_page_is_whole_by_itself() {
    let page = html::page(&report());
    for words in [
        "<title>Load test: burst</title>",
        "2026-11-22 10:40:01 UTC, 2.5 s",
        "&lt;&amp;{data}&gt;",
        "Limits missed",
        "<li class=\"missed\">lost is 1, the limit 0</li>",
        "<b>30</b><span>expected</span>",
        "<b>990</b><span>p99, ms</span>",
        "<td class=\"word\">SSE</td><td>205.5</td>",
        "<th>ended: by the server, drain</th><td>2</td>",
        "Errors and reconnects",
        "tidegate (7), up to 12.5",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert_eq!(page.matches("<svg").count(), 6);
    for foreign in ["<script", "http://", "https://", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("<figure>").count(), page.matches("</figure>").count());
}

#[test]
fn a_run_without_errors_shows_no_plot_of_them() {
    let mut report = report();
    report.errors.clear();
    report.timeline.iter_mut().for_each(|sample| sample.reconnects = 0);
    assert!(!html::page(&report).contains("Errors and reconnects"));
    assert!(!report.held());
    report.limits.remove(0);
    assert!(report.held());
    assert!(html::page(&report).contains("Limits held"));
}

#[test]
fn figures_read_as_people_write_them() {
    let shown = [json!(7.0), json!(7), json!(0.25), json!("SSE"), Value::Null].map(|value| text(&value));
    assert_eq!(shown, ["7", "7", "0.25", "SSE", "–"]);
}
