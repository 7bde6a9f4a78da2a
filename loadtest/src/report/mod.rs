//! What came of a run: for the terminal, as JSON, as a page.

pub(crate) mod html;
pub(crate) mod limits;
mod plot;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};

use self::limits::Verdict;
use crate::process::Machine;
use crate::watch::Sample;

/// Every figure of a run. As JSON it is one flat object; times are milliseconds where the name does not say otherwise.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    /// As it was typed.
    pub(crate) command: String,
    /// Seconds since 1970.
    pub(crate) began: u64,
    pub(crate) seconds: f64,
    pub(crate) machine: Machine,
    pub(crate) sent: u64,
    /// Of them, what was not taken.
    pub(crate) refused: u64,
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    /// Meant for another client.
    pub(crate) stray: u64,
    #[serde(flatten)]
    pub(crate) latency: Latency,
    /// Per cent: of connections tried, of publishes and of events expected, whichever has most that failed.
    pub(crate) error_rate: f64,
    pub(crate) errors: BTreeMap<String, u64>,
    /// What the scenario has besides.
    pub(crate) figures: Map<String, Value>,
    pub(crate) tables: Vec<Table>,
    pub(crate) notes: Vec<String>,
    pub(crate) limits: Vec<Verdict>,
    /// Whose CPU and memory the timeline shows.
    pub(crate) processes: Vec<String>,
    pub(crate) timeline: Vec<Sample>,
}

/// From a publish to its arrival, in milliseconds; None: nothing came.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) max: Option<f64>,
}

/// Rows of one scenario: its steps, its ways.
#[derive(Clone, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Latency {
    pub(crate) fn of(micros: &Histogram<u64>) -> Self {
        let at = |quantile: f64| {
            (!micros.is_empty()).then(|| round(micros.value_at_quantile(quantile) as f64 / 1e3))
        };
        Self { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }

    pub(crate) fn named(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("p50", self.p50),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p99", self.p99),
            ("p999", self.p999),
            ("max", self.max),
        ]
    }
}

impl Report {
    pub(crate) fn print(&self) {
        println!("{} ({})", self.scenario, self.machine);
        let line = |name: &str, value: &Value| println!("  {name:<28} {}", text(value));
        if self.expected > 0 || self.sent > 0 {
            for (name, count) in self.accounts() {
                line(name, &Value::from(count));
            }
        }
        for (name, value) in self.latency.named() {
            if let Some(value) = value {
                line(&format!("{name} ms"), &Value::from(value));
            }
        }
        line("error rate %", &Value::from(self.error_rate));
        for (name, value) in self.plain_figures() {
            line(name, value);
        }
        for (kind, count) in &self.errors {
            line(kind, &Value::from(*count));
        }
        for table in &self.tables {
            println!("\n{}", table.title);
            table.print();
        }
        for note in &self.notes {
            println!("{note}");
        }
        for verdict in self.limits.iter().filter(|verdict| !verdict.held) {
            println!("MISSED: {verdict}");
        }
    }

    /// Without those that have parts: tables show these.
    pub(crate) fn plain_figures(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.figures.iter().filter(|(_, value)| !value.is_object())
    }

    pub(crate) fn accounts(&self) -> [(&'static str, u64); 8] {
        [
            ("sent", self.sent),
            ("refused", self.refused),
            ("expected", self.expected),
            ("received", self.received),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("reordered", self.reordered),
            ("stray", self.stray),
        ]
    }

    pub(crate) fn write(&self, json: Option<&Path>, html: Option<&Path>) -> Result<()> {
        let write = |path: &Path, bytes: Vec<u8>| {
            std::fs::write(path, bytes).with_context(|| format!("can't write {}", path.display()))
        };
        if let Some(path) = json {
            write(path, serde_json::to_vec_pretty(self)?)?;
        }
        if let Some(path) = html {
            write(path, html::page(self).into_bytes())?;
            println!("As a page: {}", path.display());
        }
        Ok(())
    }

    /// Whether every stated limit was held.
    pub(crate) fn held(&self) -> bool {
        self.limits.iter().all(|verdict| verdict.held)
    }
}

impl Table {
    fn print(&self) {
        let cells = |row: &[Value]| row.iter().map(text).collect::<Vec<_>>();
        let mut lines = vec![self.columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>()];
        lines.extend(self.rows.iter().map(|row| cells(row)));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for line in lines {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            println!("  {}", cells.collect::<Vec<_>>().join("  "));
        }
    }
}

/// What was typed.
pub(crate) fn command() -> String {
    std::env::args().skip(1).fold("loadtest".to_owned(), |all, word| {
        let quoted = if word.contains([' ', '{', '"']) { format!("'{word}'") } else { word };
        all + " " + &quoted
    })
}

/// As people read it.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        Value::Number(number) if number.as_f64().is_some_and(|value| value == value.trunc()) => {
            format!("{:.0}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// Three digits that count: more would be noise.
pub(crate) fn round(value: f64) -> f64 {
    let step = if value.abs() >= 100.0 {
        1.0
    } else if value.abs() >= 1.0 {
        100.0
    } else {
        10_000.0
    };
    (value * step).round() / step
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
