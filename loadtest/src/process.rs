//! What the server's processes use, from `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// CPU seconds, user and system, of all of them so far.
pub(crate) fn cpu(pids: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for pid in pids {
        let stat =
            fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
        // The name in parentheses may hold spaces: fields are counted from behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |n: usize| fields.get(n).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        ticks += field(11) + field(12);
    }
    #[allow(unsafe_code, reason = "sysconf reads a constant")]
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(ticks as f64 / per_second.max(1) as f64)
}

/// Proportional set size of all of them, in kB: shared pages count once.
pub(crate) fn pss(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .with_context(|| format!("no process {pid}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        sum +=
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(sum)
}

/// Load averages and cores: how busy the machine was besides.
pub(crate) fn machine() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, load {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}
