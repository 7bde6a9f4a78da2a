//! What the server's processes use, from `/proc`.

use std::fs;

use anyhow::{Context, Result};

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

/// Load averages and cores: how busy the machine was besides.
pub(crate) fn machine() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, load {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}
