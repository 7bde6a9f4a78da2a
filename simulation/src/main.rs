//! `simulate`: docs/simulation.md says how to use it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use tidegate_simulation::kept::Kept;
use tidegate_simulation::runner::{self, Batch, Summary};
use tidegate_simulation::{Failure, Family, Plan, simulate};

/// The Redis broker and the hub over a model of Redis, in virtual time, from a seed.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many schedules. Exit code 1: some failed; each smallest plan is in target/failures
    Run(Run),
    /// Run one schedule twice and print its failures
    Seed {
        family: Family,
        seed: u64,
        #[command(flatten)]
        how: How,
    },
    /// Run a plan from a file, as kept in regressions/ and target/failures
    Plan {
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Run what is kept: plans of regressions/ must pass with their neighbours, those of expected/
    /// must fail
    Kept,
}

#[derive(clap::Args)]
struct Run {
    /// Comma-separated; default: all whose every failure is a fault
    #[arg(long, value_delimiter = ',')]
    family: Vec<Family>,
    /// First seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Start from a seed that the clock gives
    #[arg(long)]
    random: bool,
    /// Schedules at most
    #[arg(long, default_value_t = u64::MAX)]
    count: u64,
    /// Seconds at most
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Schedules side by side; default: one for each core
    #[arg(long)]
    jobs: Option<usize>,
    /// Run one in this many twice: both must go the same way
    #[arg(long, default_value_t = 20)]
    twice: u64,
    /// Stop after so many failing schedules
    #[arg(long, default_value_t = 3)]
    stop: usize,
    /// Print failing schedules as they are
    #[arg(long)]
    no_shrink: bool,
}

#[derive(clap::Args)]
struct How {
    /// Write what happened to this file
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Make the plan smaller for as long as it fails in the same way, and write it to this file
    #[arg(long)]
    shrink: Option<PathBuf>,
    /// Shrink by this kind of failure instead of the first: LOST, "BROKEN PROMISE", …
    #[arg(long)]
    kind: Option<String>,
}

fn main() -> Result<ExitCode> {
    let good = match Arguments::parse().command {
        Command::Run(options) => run(&options)?,
        Command::Seed { family, seed, how } => show(family.plan(seed), &how)?,
        Command::Plan { file, how } => show(Kept::read(&file)?.plan, &how)?,
        Command::Kept => kept()?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(options: &Run) -> Result<bool> {
    let clock =
        || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_secs() << 16);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let batch = Batch {
        families: if options.family.is_empty() { Family::SOUND.to_vec() } else { options.family.clone() },
        from: if options.random { clock() } else { options.from },
        count: options.count,
        time: Duration::from_secs(options.seconds),
        jobs: options.jobs.unwrap_or(cores),
        twice: options.twice,
        stop: options.stop,
    };
    let begun = Instant::now();
    let summary = runner::run(&batch, &|plan, failures, after| {
        println!("after {:.1} s: simulate seed {} {}", after.as_secs_f64(), name(plan.family), plan.seed);
        print(failures);
    });
    report(&batch, &summary, begun.elapsed());
    for (plan, failures, _) in summary.failed.iter().filter(|_| !options.no_shrink) {
        let file = format!("target/failures/{}-{}.toml", name(plan.family), plan.seed);
        smallest(plan.clone(), &failures[0].kind, &Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
    }
    Ok(summary.failed.is_empty())
}

fn report(batch: &Batch, summary: &Summary, took: Duration) {
    let (seconds, counts) = (took.as_secs_f64(), &summary.counts);
    println!(
        "{} schedules from seed {} in {seconds:.1} s ({:.1} a second, {:.0} virtual seconds a second), {} of them twice: {} failed",
        summary.schedules,
        batch.from,
        summary.schedules as f64 / seconds,
        summary.virtual_time.as_secs_f64() / seconds,
        summary.repeated,
        summary.failed.len(),
    );
    println!(
        "{} commands; {} events acknowledged, {} received on {} streams, {} resets",
        counts.commands, counts.acknowledged, counts.received, counts.streams, counts.resets
    );
}

fn show(plan: Plan, how: &How) -> Result<bool> {
    let outcome = match simulate(&plan, how.trace.is_some()) {
        Ok(outcome) => outcome,
        Err(panic) => {
            print(&[panic]);
            return Ok(false);
        }
    };
    let same = simulate(&plan, false).map(|again| again.hash) == Ok(outcome.hash);
    println!(
        "hash {:016x}; a second run goes {}",
        outcome.hash,
        if same { "the same way" } else { "ANOTHER way" }
    );
    print(&outcome.failures);
    if let Some(file) = &how.trace {
        std::fs::write(file, outcome.trace.join("\n") + "\n").with_context(|| file.display().to_string())?;
    }
    if let (Some(file), Some(first)) = (&how.shrink, outcome.failures.first()) {
        smallest(plan, how.kind.as_ref().unwrap_or(&first.kind), file)?;
    }
    Ok(outcome.failures.is_empty() && same)
}

fn smallest(plan: Plan, kind: &str, file: &Path) -> Result<()> {
    let begun = Instant::now();
    let (plan, failure, runs) = runner::shrink(plan, kind);
    let what = failure.map(|failure| failure.to_string()).unwrap_or_default();
    println!("smallest of {runs} runs in {:.1} s: {}", begun.elapsed().as_secs_f64(), file.display());
    Kept { what, kind: kind.into(), plan }.write(file)
}

fn kept() -> Result<bool> {
    let mut good = true;
    for (path, kept) in Kept::all("regressions")? {
        // Seeds do not survive changes of the code: others may meet what this one met.
        for neighbour in 0..20 {
            let plan = Plan { seed: kept.plan.seed + neighbour, ..kept.plan.clone() };
            let failures = failures(&plan);
            if !failures.is_empty() {
                println!("{} with seed {}:", path.display(), plan.seed);
                print(&failures);
                good = false;
            }
        }
    }
    for (path, kept) in Kept::all("expected")? {
        // As above: one of many neighbours meets it still, unless it is mended.
        let mut neighbours =
            (0..400).map(|neighbour| Plan { seed: kept.plan.seed + neighbour, ..kept.plan.clone() });
        let fails = |plan: Plan| failures(&plan).iter().any(|failure| failure.kind == kept.kind);
        if !neighbours.any(fails) {
            println!("{} does not fail any more: if it is mended, move it to regressions", path.display());
            good = false;
        }
    }
    Ok(good)
}

fn failures(plan: &Plan) -> Vec<Failure> {
    simulate(plan, false).map_or_else(|panic| vec![panic], |outcome| outcome.failures)
}

fn print(failures: &[Failure]) {
    failures.iter().take(5).for_each(|failure| println!("  {failure}"));
    if failures.len() > 5 {
        println!("  and {} more", failures.len() - 5);
    }
}

fn name(family: Family) -> String {
    family.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
