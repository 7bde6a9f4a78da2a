//! The same scenario against one system after the other, on this machine, side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use tidegate_children::Home;

use crate::failure::Usage;
use crate::local::peers::{self, Peer, Setup};
use crate::process::{self, Machine};
use crate::report::{Latency, Report, Table, command, round};

/// Fan-out against Tidegate, Nchan and Pushpin. What follows -- is the scenario's: loadtest compare -- --connections 500
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What each has to do.
    #[arg(long, value_enum, default_value = "fanout")]
    scenario: Which,
    /// Who: tidegate, nchan, pushpin, loop. They are started one after the other; the first is what the others are measured by.
    #[arg(long, value_delimiter = ',', default_value = "tidegate,nchan,pushpin", value_name = "NAME,…")]
    systems: Vec<String>,
    /// One that runs already, by its profile's name or file; several times for several.
    #[arg(long, value_name = "PROFILE=URL")]
    running: Vec<String>,
    /// How often each; they alternate, and medians are shown.
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: usize,
    /// The gateway; none: the one beside this program.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Write the result as JSON, and each system's own beside it: FILE.SYSTEM.json.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the result as a page, and each system's own beside it, with its plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Flags of the scenario.
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// Those that all of them can do.
#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Fanout,
    Flood,
    Users,
    Burst,
    Connect,
    Idle,
    Publish,
}

/// What is laid side by side, where the scenario has it: a title, and where it stands in a result.
const FIGURES: &[(&str, &str)] = &[
    ("round p50 ms", "/figures/sse/round/p50"),
    ("round p99 ms", "/figures/sse/round/p99"),
    ("round max ms", "/figures/sse/round/max"),
    ("failed rounds", "/figures/sse/failed"),
    ("p50 ms", "/p50"),
    ("p99 ms", "/p99"),
    ("max ms", "/max"),
    ("deliveries/s", "/figures/deliveries_per_second"),
    ("opened/s", "/figures/opened_per_second"),
    ("published/s", "/figures/published_per_second"),
    ("CPU µs a delivery", "/figures/server_cpu_us_per_delivery"),
    ("CPU µs an event", "/figures/server_cpu_us_per_event"),
    ("CPU µs a stream", "/figures/server_cpu_us_per_stream"),
    ("kB a connection", "/figures/kb_per_connection"),
    (MEMORY, "/memory"),
    ("lost", "/lost"),
    ("doubled", "/doubled"),
    ("reordered", "/reordered"),
    ("refused", "/refused"),
];

/// Of the timeline's samples.
const MEMORY: &str = "most memory MB";

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ensure!(options.rounds > 0, Usage::new("--rounds must be at least 1"));
    let (machine, start) = (Machine::now(), Instant::now());
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    process::raise_open_files()?;
    let home = Home::new("loadtest")?;
    let setup = Setup { binary: options.binary.as_deref(), ..Setup::default() };
    let (mut results, mut notes) = (Results::default(), Vec::new());
    for turn in 0..options.rounds {
        for system in &options.systems {
            match peers::start(&home, system, &setup) {
                Ok(peer) => results.add(system, measure(options, &home, system, Some(&peer), "")?),
                Err(error) if error.is::<Usage>() => return Err(error),
                Err(error) if turn == 0 => notes.push(format!("Not compared: {error:#}")),
                Err(_) => {}
            }
        }
        for other in &options.running {
            let (profile, url) = other.split_once('=').context(Usage::new("--running PROFILE=URL"))?;
            results.add(profile, measure(options, &home, profile, None, url)?);
        }
    }
    ensure!(!results.0.is_empty(), "nobody was there to be measured: {}", notes.join("; "));
    let report = Report {
        scenario: "compare",
        command: command(),
        began,
        seconds: round(start.elapsed().as_secs_f64()),
        machine,
        sent: 0,
        refused: 0,
        expected: 0,
        received: 0,
        lost: 0,
        doubled: 0,
        reordered: 0,
        stray: 0,
        latency: Latency::default(),
        error_rate: 0.0,
        errors: BTreeMap::new(),
        figures: results.figures(),
        tables: vec![results.table(options)],
        notes,
        limits: Vec::new(),
        processes: Vec::new(),
        timeline: Vec::new(),
    };
    report.print();
    report.write(options.json.as_deref(), options.html.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// A run of the scenario, by this program once more: what it came to.
fn measure(options: &Options, home: &Home, system: &str, peer: Option<&Peer>, url: &str) -> Result<Value> {
    let scenario =
        options.scenario.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    eprintln!("== {scenario}: {system}");
    let name = Path::new(system).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let json =
        options.json.as_deref().map_or_else(|| home.path().join("result.json"), |path| beside(path, &name));
    let mut run = Command::new(std::env::current_exe()?);
    run.args([&scenario, "--profile", system]).arg("--json").arg(&json);
    run.args(peer.map_or_else(|| vec!["--url".to_owned(), url.to_owned()], Peer::flags));
    if let Some(path) = &options.html {
        run.arg("--html").arg(beside(path, &name));
    }
    if let Which::Burst = options.scenario {
        run.args(["--via", "sse"]);
    }
    // A limit that it missed is a result, too.
    let status = run.args(&options.flags).status()?;
    let text = std::fs::read(&json)
        .with_context(|| format!("{scenario} against {system} has no result ({status})"))?;
    let _ = options.json.is_none().then(|| std::fs::remove_file(&json));
    Ok(serde_json::from_slice(&text)?)
}

/// Where a system's own report goes, beside the comparison's.
fn beside(path: &Path, system: &str) -> PathBuf {
    let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    path.with_extension(format!("{system}.{ending}"))
}

/// By system, in the order of their first turn.
#[derive(Default)]
struct Results(Vec<(String, Vec<Value>)>);

impl Results {
    fn add(&mut self, system: &str, result: Value) {
        match self.0.iter_mut().find(|(name, _)| name == system) {
            Some((_, results)) => results.push(result),
            None => self.0.push((system.to_owned(), vec![result])),
        }
    }

    /// Of all rounds.
    fn median(results: &[Value], title: &str, place: &str) -> Option<f64> {
        let of =
            |result: &Value| if title == MEMORY { memory(result) } else { result.pointer(place)?.as_f64() };
        let mut values: Vec<f64> = results.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len().checked_sub(1)? / 2;
        Some((values[middle] + values[values.len() / 2]) / 2.0)
    }

    /// Those that somebody has.
    fn columns(&self) -> Vec<(&'static str, Vec<Option<f64>>)> {
        let of = |(title, place): &(&'static str, &str)| {
            let values = self.0.iter().map(|(_, results)| Self::median(results, title, place));
            (*title, values.collect::<Vec<_>>())
        };
        FIGURES.iter().map(of).filter(|(_, values)| values.iter().any(Option::is_some)).collect()
    }

    /// A row a system, and below how many times the first one's figures the others' are.
    fn table(&self, options: &Options) -> Table {
        let columns = self.columns();
        let row = |name: String, cell: &dyn Fn(&[Option<f64>]) -> Option<f64>| {
            let cells = columns.iter().map(|(_, values)| json!(cell(values).map(round)));
            std::iter::once(json!(name)).chain(cells).collect::<Vec<_>>()
        };
        let names: Vec<&String> = self.0.iter().map(|(name, _)| name).collect();
        let mut rows: Vec<Vec<Value>> =
            (0..names.len()).map(|at| row(names[at].clone(), &|values| values[at])).collect();
        for at in 1..names.len() {
            rows.push(row(format!("{} ÷ {}", names[at], names[0]), &|values| {
                values[at]
                    .zip(values[0])
                    .filter(|(_, first)| *first > 0.0)
                    .map(|(other, first)| other / first)
            }));
        }
        let scenario = options.scenario.to_possible_value();
        let scenario = scenario.as_ref().map_or("", |value| value.get_name());
        Table {
            title: format!("{scenario} {}: side by side", options.flags.join(" ")).replace(" :", ":"),
            columns: std::iter::once("system").chain(columns.iter().map(|(title, _)| *title)).collect(),
            rows,
        }
    }

    /// The same for machines: by system, then by title.
    fn figures(&self) -> Map<String, Value> {
        let columns = self.columns();
        let of = |at: usize| {
            columns.iter().map(move |(title, values)| ((*title).to_owned(), json!(values[at]))).collect()
        };
        let systems = self.0.iter().enumerate();
        systems.map(|(at, (name, _))| (name.clone(), Value::Object(of(at)))).collect()
    }
}

/// The most that the server had, without the tester, which is the last.
fn memory(result: &Value) -> Option<f64> {
    let samples = result["timeline"].as_array()?.iter();
    let sum = |sample: &Value| Some(sample["mb"].as_array()?.iter().filter_map(Value::as_f64).sum::<f64>());
    samples.filter_map(sum).max_by(f64::total_cmp).filter(|most| *most > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_stand_side_by_side_and_the_first_is_the_measure() {
        let mut results = Results::default();
        for (system, p50) in [("a", 1.0), ("b", 6.0), ("a", 3.0), ("b", 2.0)] {
            results.add(system, json!({ "p50": p50, "p99": null, "timeline": [{ "mb": [4.0 * p50] }] }));
        }
        let columns = results.columns();
        assert_eq!(columns[0], ("p50 ms", vec![Some(2.0), Some(4.0)]));
        assert_eq!(columns[1], (MEMORY, vec![Some(8.0), Some(16.0)]));
        assert_eq!(columns.len(), 2);
    }
}
