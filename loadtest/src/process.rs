//! What the server's processes use, from `/proc`.

use std::{fmt, fs};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeVal;
use serde::Serialize;

/// These processes and all their descendants: nginx works in its children.
pub(crate) fn family(pids: &[u32]) -> Vec<u32> {
    let mut all = pids.to_vec();
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        all.extend(children.into_iter().filter(|pid| !pids.contains(pid)));
        at += 1;
    }
    all
}

/// CPU seconds, user and system, of all their threads so far. The scheduler's own count: that in `stat` has steps of 10 ms.
pub(crate) fn cpu(pids: &[u32]) -> Result<f64> {
    let mut nanos = 0;
    for pid in family(pids) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))?;
        for task in tasks {
            // A thread may end meanwhile.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanos += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
        }
    }
    Ok(nanos as f64 / 1e9)
}

/// The tester's own, with that of its ended threads.
pub(crate) fn own_cpu() -> f64 {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let own = getrusage(UsageWho::RUSAGE_SELF)
        .map_or(0.0, |used| seconds(used.user_time()) + seconds(used.system_time()));
    let mut others = family(&[std::process::id()]);
    others.remove(0);
    own + cpu(&others).unwrap_or_default()
}

/// Proportional set size of all of them, in kB: shared pages count once.
pub(crate) fn pss(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in family(pids) {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .with_context(|| format!("can't read the memory of process {pid}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        sum += line.and_then(|kb| kb.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(sum)
}

/// What a process calls itself.
pub(crate) fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// As many open files as this process may have, and how many that is.
pub(crate) fn raise_open_files() -> Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// What the run had to itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    /// Load averages over 1, 5 and 15 minutes: how busy it was besides.
    pub(crate) load: String,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            kernel: read("/proc/sys/kernel/osrelease").trim_end().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cores, load before {}, kernel {}", self.cores, self.load, self.kernel)
    }
}
