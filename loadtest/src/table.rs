//! Results side by side, and what was to be reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::process::Machine;
use crate::report::round;
use crate::rows::{ROWS, Reach, Row};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the results are: files MEASUREMENT.SERVER.ROUND.json.
    directory: PathBuf,
    /// Also write the table as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The servers' columns, in this order, if there is a result.
const SERVERS: [&str; 4] = ["tidegate", "nchan", "loop", "redis-benchmark"];

pub(crate) fn run(options: &Options) -> Result<()> {
    let results = Results::read(&options.directory)?;
    let servers: Vec<&str> =
        SERVERS.into_iter().filter(|server| results.0.keys().any(|(_, name)| name == server)).collect();
    let mut lines = vec![
        std::iter::once("figure")
            .chain(servers.iter().copied())
            .chain(["to be reached", "ratio", "reached"])
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    ];
    let mut figures = Vec::new();
    for row in ROWS {
        let values: Vec<_> =
            servers.iter().map(|server| results.median(row.measurement, server, row.figure)).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let judged = results.judge(row);
        let mut line = vec![row.title.to_owned()];
        line.extend(values.iter().map(|value| value.map_or("–".to_owned(), text)));
        line.push(row.reach.map_or(String::new(), |reach| reach.to_string()));
        line.push(judged.map_or(String::new(), |(ratio, _)| text(ratio)));
        line.push(judged.map_or("", |(_, reached)| if reached { "yes" } else { "NO" }).to_owned());
        lines.push(line);
        let values: serde_json::Map<String, Value> = servers
            .iter()
            .zip(&values)
            .filter_map(|(server, value)| Some(((*server).to_owned(), json!((*value)?))))
            .collect();
        figures.push(json!({
            "figure": row.title, "measurement": row.measurement, "values": values,
            "to_be_reached": row.reach.map(|reach| reach.to_string()),
            "ratio": judged.map(|(ratio, _)| round(ratio)), "reached": judged.map(|(_, reached)| reached),
        }));
    }
    let mut faults = vec!["events lost, doubled, reordered or astray".to_owned()];
    faults.extend(servers.iter().map(|server| results.faults(server).to_string()));
    faults.extend(["0".to_owned(), String::new()]);
    faults.push(if results.faults("tidegate") == 0 { "yes" } else { "NO" }.to_owned());
    lines.push(faults);
    print(&lines);
    if let Some(path) = &options.json {
        let all = json!({ "machine": Machine::now(), "figures": figures });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("can't write {}", path.display()))?;
        println!("\nAs JSON: {}", path.display());
    }
    Ok(())
}

/// Every round's figures, by measurement and server.
struct Results(BTreeMap<(String, String), Vec<Value>>);

impl Results {
    fn read(directory: &Path) -> Result<Self> {
        let mut results: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        let entries =
            std::fs::read_dir(directory).with_context(|| format!("can't read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let [measurement, server, _, "json"] = name.split('.').collect::<Vec<_>>()[..] else { continue };
            let value: Value = serde_json::from_slice(&std::fs::read(&path)?)
                .with_context(|| format!("{} is no result", path.display()))?;
            results.entry((measurement.to_owned(), server.to_owned())).or_default().push(value);
        }
        Ok(Self(results))
    }

    fn rounds(&self, measurement: &str, server: &str) -> impl Iterator<Item = &Value> {
        self.0.get(&(measurement.to_owned(), server.to_owned())).into_iter().flatten()
    }

    fn median(&self, measurement: &str, server: &str, figure: &str) -> Option<f64> {
        let mut values: Vec<f64> = self
            .rounds(measurement, server)
            .filter_map(|result| {
                result.pointer(&format!("/figures/{figure}")).or(result.get(figure))?.as_f64()
            })
            .collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
        Some(f64::midpoint(*low, *high))
    }

    /// Tidegate's figure in parts of what it is compared with, and whether that is enough.
    fn judge(&self, row: &Row) -> Option<(f64, bool)> {
        let reach = row.reach?;
        let own = self.median(row.measurement, "tidegate", row.figure)?;
        let (other, factor, at_least) = match reach {
            Reach::Most(limit) => (limit, 1.0, false),
            Reach::MostOf(factor, server) => {
                (self.median(row.measurement, server, row.figure)?, factor, false)
            }
            Reach::LeastOf(factor, server) => {
                (self.median(row.measurement, server, row.figure)?, factor, true)
            }
            Reach::MostOfOwn(factor, measurement) => {
                (self.median(measurement, "tidegate", row.figure)?, factor, false)
            }
        };
        // Nothing where nothing may be.
        let ratio = if own == other { 1.0 } else { own / other };
        Some((ratio, if at_least { ratio >= factor } else { ratio <= factor }))
    }

    /// Of all rounds of all measurements.
    fn faults(&self, server: &str) -> u64 {
        let results = self.0.iter().filter(|((_, name), _)| name == server).flat_map(|(_, rounds)| rounds);
        let kinds = ["lost", "doubled", "reordered", "stray"];
        results.flat_map(|result| kinds.map(|kind| result[kind].as_u64().unwrap_or(0))).sum()
    }
}

/// A table that reads well as it is, and in Markdown.
fn print(lines: &[Vec<String>]) {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        if number == 0 {
            println!("|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
        }
    }
}

fn text(value: f64) -> String {
    let digits = round(value).to_string();
    let Some(thousands) = digits.len().checked_sub(3).filter(|at| *at > 0 && !digits.contains(['.', '-']))
    else {
        return digits;
    };
    let (mut head, tail) = (digits[..thousands].to_owned(), &digits[thousands..]);
    if head.len() > 3 {
        head.insert(head.len() - 3, ',');
    }
    format!("{head},{tail}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn results(rounds: &[(&str, &str, f64)]) -> Results {
        let mut all: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for (measurement, server, value) in rounds {
            let key = ((*measurement).to_owned(), (*server).to_owned());
            all.entry(key)
                .or_default()
                .push(json!({ "figures": { "figure": value }, "lost": 1, "stray": 2 }));
        }
        Results(all)
    }

    fn judge(results: &Results, reach: Reach) -> Option<(f64, bool)> {
        results.judge(&Row { title: "", measurement: "m", figure: "figure", reach: Some(reach) })
    }

    #[test]
    fn rounds_become_their_median() {
        let results =
            results(&[("m", "a", 5.0), ("m", "a", 1.0), ("m", "a", 2.0), ("m", "b", 1.0), ("m", "b", 2.0)]);
        assert_eq!(results.median("m", "a", "figure"), Some(2.0));
        assert_eq!(results.median("m", "b", "figure"), Some(1.5));
        assert_eq!(results.median("m", "c", "figure"), None);
        assert_eq!(results.faults("a"), 9);
    }

    #[test]
    fn a_figure_is_judged_by_what_it_stands_beside() {
        let results = results(&[("m", "tidegate", 3.0), ("m", "nchan", 2.0), ("n", "tidegate", 6.0)]);
        assert_eq!(judge(&results, Reach::Most(3.0)), Some((1.0, true)));
        assert!(!judge(&results, Reach::Most(0.0)).unwrap().1);
        assert_eq!(judge(&results, Reach::MostOf(1.0, "nchan")), Some((1.5, false)));
        assert_eq!(judge(&results, Reach::LeastOf(1.5, "nchan")), Some((1.5, true)));
        assert_eq!(judge(&results, Reach::LeastOf(1.6, "nchan")), Some((1.5, false)));
        assert_eq!(judge(&results, Reach::MostOfOwn(1.0, "n")), Some((0.5, true)));
        assert_eq!(judge(&results, Reach::MostOf(1.0, "loop")), None);
        let nothing = self::results(&[("m", "tidegate", 0.0)]);
        assert_eq!(judge(&nothing, Reach::Most(0.0)), Some((1.0, true)));
    }

    #[test]
    fn numbers_read_well() {
        let shown = [0.0812, 1.004, 14.26, 999.4, 14_500.2, 3_923_018.0].map(text);
        assert_eq!(shown, ["0.0812", "1", "14.26", "999", "14,500", "3,923,018"]);
    }
}
