//! Every connection is an open file, and the usual soft limit of 1,024 is for programs that use select(2).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Below this a gateway meets its limit with the users of a small site.
const FEW: u64 = 10_000;

/// Raises the limit as far as the process may, and returns it.
pub(crate) fn raise_limit() -> u64 {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard) } else { Ok(soft) }
    });
    // Could not be raised: what it is now is what counts.
    let limit = raised.or_else(|_| getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft)).unwrap_or(1_024);
    if limit < FEW {
        tracing::warn!(
            limit,
            "few open files are allowed; raise the hard limit (ulimit -Hn, LimitNOFILE=) for more connections"
        );
    } else {
        tracing::info!(limit, "open files allowed");
    }
    limit
}

/// How many connections to accept: as configured, or 90 % of the open files.
pub(crate) fn connections(configured: usize, limit: u64) -> usize {
    match configured {
        0 => usize::try_from(limit / 10 * 9).unwrap_or(usize::MAX),
        configured => configured,
    }
}
