use std::fmt;

use serde::Serialize;

use super::Latency;
use crate::tally::Counts;

/// What the run must not exceed; else the exit status is 1.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Limits {
    /// Half of the events must be there within so many milliseconds.
    #[arg(long, value_name = "MS", help_heading = "Limits")]
    max_p50_ms: Option<f64>,
    /// 99 of 100 events must be there within so many milliseconds.
    #[arg(long, value_name = "MS", help_heading = "Limits")]
    max_p99_ms: Option<f64>,
    /// Events that may be lost.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Limits")]
    max_lost: u64,
    /// Events that may come twice.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Limits")]
    max_doubled: u64,
    /// Events that may come after a later one.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Limits")]
    max_reordered: u64,
    /// Publishes that may be refused.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Limits")]
    max_refused: u64,
    /// Connections, publishes or events that may fail, in per cent.
    #[arg(long, value_name = "PERCENT", help_heading = "Limits")]
    max_error_rate: Option<f64>,
}

/// A limit and what was reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) name: &'static str,
    pub(crate) limit: f64,
    /// None: there was nothing to measure, which holds no limit.
    pub(crate) value: Option<f64>,
    pub(crate) held: bool,
}

impl Verdict {
    pub(crate) fn most(name: &'static str, limit: f64, value: Option<f64>) -> Self {
        Self { name, limit, value, held: value.is_some_and(|value| value <= limit) }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "{} is {value}, the limit {}", self.name, self.limit),
            None => write!(f, "{} was not measured, the limit is {}", self.name, self.limit),
        }
    }
}

impl Limits {
    pub(crate) fn judge(
        &self,
        counts: Counts,
        refused: u64,
        expected: u64,
        latency: &Latency,
        error_rate: f64,
    ) -> Vec<Verdict> {
        let stated = |limit: Option<f64>, name, value| limit.map(|limit| Verdict::most(name, limit, value));
        let count = |name, limit: u64, value: u64| Verdict::most(name, limit as f64, Some(value as f64));
        let mut all = vec![
            count("lost", self.max_lost, counts.lost(expected)),
            count("doubled", self.max_doubled, counts.doubled),
            count("reordered", self.max_reordered, counts.reordered),
            count("stray", 0, counts.stray),
            count("refused", self.max_refused, refused),
        ];
        all.extend(stated(self.max_p50_ms, "p50 ms", latency.p50));
        all.extend(stated(self.max_p99_ms, "p99 ms", latency.p99));
        all.extend(stated(self.max_error_rate, "error rate %", Some(error_rate)));
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        limits: Limits,
    }

    fn missed(flags: &[&str], counts: Counts, latency: Latency) -> Vec<&'static str> {
        let flags = Flags::parse_from([&["loadtest", "--max-refused", "1"], flags].concat());
        let verdicts = flags.limits.judge(counts, 1, 10, &latency, 2.0);
        verdicts.into_iter().filter(|verdict| !verdict.held).map(|verdict| verdict.name).collect()
    }

    #[test]
    fn nothing_may_be_lost_unless_that_is_said() {
        let counts = Counts { received: 9, doubled: 1, reordered: 1, stray: 1 };
        let all = ["lost", "doubled", "reordered", "stray"];
        assert_eq!(missed(&[], counts, Latency::default()), all);
        let allowed = ["--max-lost", "2", "--max-doubled", "1", "--max-reordered", "1"];
        assert_eq!(missed(&allowed, counts, Latency::default()), ["stray"]);
    }

    #[test]
    fn a_limit_on_what_was_not_measured_is_missed() {
        let counts = Counts { received: 10, ..Counts::default() };
        let latency = Latency { p99: Some(5.0), ..Latency::default() };
        assert!(missed(&["--max-p99-ms", "5"], counts, latency).is_empty());
        assert_eq!(missed(&["--max-p99-ms", "4.9"], counts, latency), ["p99 ms"]);
        assert_eq!(missed(&["--max-p50-ms", "5"], counts, latency), ["p50 ms"]);
        assert_eq!(missed(&["--max-error-rate", "1"], counts, latency), ["error rate %"]);
    }
}
