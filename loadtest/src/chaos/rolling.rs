//! How clients come back while nodes are restarted one after the other: in a steady trickle, not in waves.

use serde_json::{Value, json};

use super::schedule::Fault;
use super::verdict::Evidence;
use crate::report::{Table, round};

const SECOND: u64 = 1_000_000;

pub(super) struct Rolling {
    /// Reconnects in each second of each rolling restart.
    restarts: Vec<Vec<u64>>,
}

impl Rolling {
    /// None: there was no rolling restart.
    pub(super) fn of(evidence: &Evidence<'_>) -> Option<Self> {
        let rolling = evidence.happened.iter().filter(|happened| happened.fault == Fault::Rolling);
        let restarts: Vec<Vec<u64>> = rolling
            .map(|restart| {
                let mut seconds = vec![0; ((restart.mended - restart.from) / SECOND) as usize + 1];
                for at in evidence.seen.iter().flat_map(|seen| &seen.returns) {
                    let second = at.checked_sub(restart.from).map(|since| (since / SECOND) as usize);
                    if let Some(count) = second.and_then(|second| seconds.get_mut(second)) {
                        *count += 1;
                    }
                }
                seconds
            })
            .collect();
        (!restarts.is_empty()).then_some(Self { restarts })
    }

    pub(super) fn figures(&self) -> Vec<(String, Value)> {
        let all = || self.restarts.iter().flatten();
        let most = all().max().copied().unwrap_or_default() as f64;
        let mean = all().sum::<u64>() as f64 / all().count().max(1) as f64;
        [
            ("rolling_reconnects_per_second", mean),
            ("rolling_reconnects_per_second_max", most),
            ("rolling_max_by_mean", most / mean.max(f64::MIN_POSITIVE)),
        ]
        .map(|(name, value)| (name.to_owned(), json!(round(value))))
        .to_vec()
    }

    /// Of the first one alone: each second a row.
    pub(super) fn table(&self) -> Table {
        let rows = self.restarts[0].iter().enumerate();
        Table {
            title: "Reconnects in each second of the first rolling restart".to_owned(),
            columns: vec!["second", "reconnects", ""],
            rows: rows
                .map(|(second, count)| {
                    vec![json!(second), json!(count), json!("▪".repeat((*count).min(100) as usize))]
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::Happened;
    use super::super::ledger::Seen;
    use super::*;

    #[test]
    fn each_second_of_a_restart_has_its_reconnects() {
        let restart = Happened { fault: Fault::Rolling, from: 5 * SECOND, mended: 8 * SECOND };
        let returns = [4, 5, 6, 6, 9].map(|second| second * SECOND + 1).to_vec();
        let seen = [Seen { returns, ..Seen::default() }];
        let evidence = Evidence { sent: &[], clients: &[], seen: &seen, happened: &[restart] };
        let rolling = Rolling::of(&evidence);
        assert_eq!(rolling.as_ref().map(|rolling| rolling.restarts.clone()), Some(vec![vec![1, 2, 0, 0]]));
        let figures = rolling.map(|rolling| rolling.figures()).unwrap_or_default();
        assert_eq!(figures[2], ("rolling_max_by_mean".to_owned(), json!(2.67)));
    }
}
