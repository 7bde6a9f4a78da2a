//! The report as a page: one file, without scripts, that needs nothing else.

use std::fmt::Write;

use serde_json::Value;

use super::plot::{Plot, Series, escape};
use super::{Report, Table, text};
use crate::watch::Sample;

const STYLE: &str = include_str!("page.css");

pub(crate) fn page(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Load test: {0}</title>\n<style>{STYLE}</style></head>\n<body><main>\n<h1>Load test: {0}</h1>\n\
         <p class=\"about\">{1}, {2} s<br>{3}</p>\n<pre>{4}</pre>\n",
        escape(report.scenario),
        date(report.began),
        report.seconds,
        escape(&report.machine.to_string()),
        escape(&report.command),
    );
    verdict(report, &mut page);
    numbers(report, &mut page);
    for table in &report.tables {
        rows(table, &mut page);
    }
    page.push_str("<section class=\"plots\">\n");
    for plot in plots(report) {
        page.push_str(&plot.figure());
    }
    page.push_str("</section>\n");
    let mut pairs = |title: &str, pairs: Vec<(&str, String)>| {
        if !pairs.is_empty() {
            let _ = write!(page, "<h2>{title}</h2>\n<table class=\"pairs\">");
            for (name, value) in pairs {
                let _ = write!(page, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(&value));
            }
            page.push_str("</table>\n");
        }
    };
    let figures = report.plain_figures().map(|(name, value)| (name.as_str(), text(value)));
    pairs("Figures", figures.collect());
    let errors = report.errors.iter().map(|(kind, count)| (kind.as_str(), count.to_string()));
    pairs("Errors and ends", errors.collect());
    for note in &report.notes {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    page.push_str("</main></body></html>\n");
    page
}

fn verdict(report: &Report, page: &mut String) {
    let (class, word) = if report.held() { ("held", "Limits held") } else { ("missed", "Limits missed") };
    let _ = write!(page, "<section class=\"verdict {class}\"><h2>{word}</h2><ul>");
    for verdict in &report.limits {
        let mark = if verdict.held { "held" } else { "missed" };
        let _ = write!(page, "<li class=\"{mark}\">{}</li>", escape(&verdict.to_string()));
    }
    page.push_str("</ul></section>\n");
}

/// The row that is looked at first.
fn numbers(report: &Report, page: &mut String) {
    page.push_str("<section class=\"numbers\">");
    let mut number = |name: &str, value: String| {
        let _ = write!(page, "<div><b>{}</b><span>{}</span></div>", escape(&value), escape(name));
    };
    if report.expected > 0 || report.sent > 0 {
        for (name, count) in report.accounts() {
            number(name, grouped(count));
        }
    }
    for (name, value) in report.latency.named() {
        if let Some(value) = value {
            number(&format!("{name}, ms"), value.to_string());
        }
    }
    number("error rate, %", report.error_rate.to_string());
    page.push_str("</section>\n");
}

/// In threes: a million is not to be counted out.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn rows(table: &Table, page: &mut String) {
    let _ = write!(page, "<h2>{}</h2>\n<div class=\"wide\"><table><tr>", escape(&table.title));
    for column in &table.columns {
        let _ = write!(page, "<th>{}</th>", escape(column));
    }
    page.push_str("</tr>");
    for row in &table.rows {
        page.push_str("<tr>");
        for cell in row {
            let class = if matches!(cell, Value::String(_)) { " class=\"word\"" } else { "" };
            let _ = write!(page, "<td{class}>{}</td>", escape(&text(cell)));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>\n");
}

fn plots(report: &Report) -> Vec<Plot<'static>> {
    let line = |name: &str, value: &dyn Fn(&Sample) -> Option<f64>| Series {
        name: name.to_owned(),
        points: report.timeline.iter().map(|sample| (sample.t, value(sample))).collect(),
    };
    let processes = |value: &dyn Fn(&Sample, usize) -> Option<f64>| {
        let lines = report.processes.iter().enumerate();
        lines.map(|(at, name)| line(name, &|sample| value(sample, at))).collect::<Vec<_>>()
    };
    let seen = |lines: Vec<Series>| {
        let measured = |line: &Series| line.points.iter().any(|point| point.1.is_some());
        lines.into_iter().filter(measured).collect()
    };
    let errors = report.errors.is_empty() && report.timeline.iter().all(|sample| sample.reconnects == 0);
    let mut plots = vec![
        Plot {
            title: "Latency",
            unit: "ms",
            series: vec![
                line("p50", &|sample| sample.p50),
                line("p90", &|sample| sample.p90),
                line("p99", &|sample| sample.p99),
                line("max", &|sample| sample.max),
            ],
        },
        Plot {
            title: "Connections",
            unit: "open",
            series: vec![line("open", &|sample| Some(sample.open as f64))],
        },
        Plot {
            title: "Events",
            unit: "a second",
            series: vec![
                line("received", &|sample| Some(sample.received_rate)),
                line("sent", &|sample| Some(sample.sent_rate)),
            ],
        },
        Plot {
            title: "CPU",
            unit: "% of one core",
            series: seen(processes(&|sample, at| sample.cpu.get(at).copied())),
        },
        Plot {
            title: "Memory",
            unit: "MB, proportional set size",
            series: seen(processes(&|sample, at| sample.mb.get(at).copied().flatten())),
        },
    ];
    if !errors {
        plots.push(Plot {
            title: "Errors and reconnects",
            unit: "so far",
            series: vec![
                line("errors and ends", &|sample| Some(sample.errors as f64)),
                line("reconnects", &|sample| Some(sample.reconnects as f64)),
            ],
        });
    }
    plots
}

/// A moment, in UTC. Days to dates after Howard Hinnant's `civil_from_days`.
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1_000, 2_010_000].map(grouped), ["0", "999", "1,000", "2,010,000"]);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_795_344_001), "2026-11-22 10:40:01 UTC");
    }
}
