//! What goes wrong when: all of it follows from the seed.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

/// A kind of misfortune.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL for a node, and a restart.
    Kill,
    /// SIGKILL for all nodes at once, and a restart.
    KillAll,
    /// Every node in turn: SIGTERM, its drain, a restart.
    Rolling,
    /// SIGSTOP and SIGCONT for a node: its sockets stay open and nothing answers.
    PauseNode,
    /// The same for Redis.
    PauseRedis,
    /// SIGKILL for Redis, and a restart with what is on its disk.
    RestartRedis,
    /// SIGKILL for Redis, and a restart with nothing: what it had is lost, and every client has to be told.
    WipeRedis,
    /// CLIENT KILL TYPE pubsub, some times in a row.
    Deaf,
    /// The nodes' connections to Redis are reset, some times in a row.
    CutRedis,
    /// nginx takes over its configuration again; the old worker's streams end a second later.
    Reload,
    /// The connections of some of the clients are reset, some times in a row.
    Cut,
    /// Some clients don't read for a while, and large events are published to them.
    Stall,
    /// All the time: bad heads, half requests, random bytes, bodies that never end.
    Garbage,
}

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "a node killed",
            Self::KillAll => "all nodes killed",
            Self::Rolling => "rolling restart",
            Self::PauseNode => "a node stopped",
            Self::PauseRedis => "Redis stopped",
            Self::RestartRedis => "Redis restarted, with data",
            Self::WipeRedis => "Redis restarted, without data",
            Self::Deaf => "pub/sub connections killed",
            Self::CutRedis => "connections to Redis reset",
            Self::Reload => "nginx reloaded",
            Self::Cut => "clients' connections reset",
            Self::Stall => "clients that don't read",
            Self::Garbage => "clients that send garbage",
        }
    }
}

/// One of them, at its time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// Since the load began, if nothing before it takes longer than it should.
    pub(super) at: Duration,
    pub(super) fault: Fault,
    /// Which node.
    pub(super) node: usize,
    /// How long, or how long in between.
    pub(super) time: Duration,
    /// How often in a row.
    pub(super) times: u32,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5.1} s  {}", self.at.as_secs_f64(), self.fault.name())?;
        let (node, millis) = (self.node + 1, self.time.as_millis());
        match self.fault {
            Fault::Kill | Fault::PauseNode => write!(f, " (gateway-{node}, {millis} ms)"),
            Fault::Deaf | Fault::CutRedis | Fault::Cut => write!(f, " ({} times)", self.times),
            Fault::Rolling | Fault::Reload | Fault::Garbage => Ok(()),
            _ => write!(f, " ({millis} ms)"),
        }
    }
}

/// Every kind once before any comes again, in an order and with measures of the seed's, as many as there is time for.
pub(super) fn plan(seed: u64, kinds: &[Fault], nodes: usize, window: Duration, time: Duration) -> Vec<Step> {
    let kinds: Vec<Fault> = kinds.iter().copied().filter(|kind| *kind != Fault::Garbage).collect();
    let mut chance = Chance::new(seed);
    // So long each has for itself and for what comes of it; short runs have room for each kind once.
    let rolling = if kinds.contains(&Fault::Rolling) { window * nodes as u32 } else { Duration::ZERO };
    let each = SLOT + rolling / u32::try_from(kinds.len()).unwrap_or(u32::MAX).max(1);
    let count = kinds.len().max((time.as_secs_f64() / each.as_secs_f64()) as usize);
    let slot = time / u32::try_from(count + 1).unwrap_or(u32::MAX);
    let mut steps = Vec::new();
    let mut round = Vec::new();
    while steps.len() < count && !kinds.is_empty() {
        if round.is_empty() {
            round.clone_from(&kinds);
        }
        let fault = round.swap_remove(chance.below(round.len()));
        let at = slot * u32::try_from(steps.len()).unwrap_or(u32::MAX) + slot / 2;
        let span = match fault {
            Fault::PauseNode | Fault::PauseRedis | Fault::Stall => 1_000..4_500,
            Fault::Deaf | Fault::CutRedis | Fault::Cut => 100..700,
            _ => 100..1_500,
        };
        let time = Duration::from_millis(span.start + chance.below((span.end - span.start) as usize) as u64);
        let (node, times) = (chance.below(nodes), 2 + chance.below(4) as u32);
        steps.push(Step { at, fault, node, time, times });
    }
    steps
}

/// What one fault and its recovery take, roughly; a rolling restart has its windows besides.
const SLOT: Duration = Duration::from_secs(5);

/// The same numbers for the same seed, on every machine (SplitMix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 up to `end`, without it.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_schedule_and_every_kind_is_in_it() {
        let kinds = Fault::value_variants();
        let plan = |seed| super::plan(seed, kinds, 3, Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        for kind in kinds.iter().filter(|kind| **kind != Fault::Garbage) {
            assert!(plan(7).iter().any(|step| step.fault == *kind), "{kind:?}");
        }
        assert!(plan(7).windows(2).all(|two| two[0].at < two[1].at));
        assert!(plan(7).iter().all(|step| step.node < 3 && step.at < Duration::from_secs(60)));
    }

    #[test]
    fn a_long_run_has_each_kind_several_times() {
        let steps = plan(1, &[Fault::Kill, Fault::Cut], 3, Duration::ZERO, Duration::from_secs(60));
        assert_eq!(steps.iter().filter(|step| step.fault == Fault::Kill).count(), 6);
        assert!(plan(1, &[Fault::Garbage], 3, Duration::ZERO, Duration::from_secs(60)).is_empty());
    }
}
