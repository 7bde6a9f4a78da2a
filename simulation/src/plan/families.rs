//! Plans from seeds. Uniform chance finds little: each family leans to one side, and within it each
//! seed has only some of the faults.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Fault, Old, Plan, Step};
use crate::chance::Chance;
use crate::redis::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Everything that Redis survives with its data.
    Mixed,
    /// Clients that come and go all the time, on a far Redis that is cut often.
    Churn,
    /// The same for brokers alone: topics are let go and wanted again within milliseconds.
    Direct,
    /// Many events at once, and hubs that keep few of them.
    Burst,
    /// Links that carry hardly more than what is published, and a node that was cut off.
    Thin,
    /// Users: memberships, disconnects, deletions.
    Users,
    /// The same, judged more strictly: see docs/simulation.md.
    Members,
    /// Redis comes back with nothing, or without a partition's place.
    Wiped,
    /// Redis begins other reigns with all data: a reset is wrong.
    Restart,
    /// Replicas with all data take over, and the old primaries follow them: a reset is wrong.
    Demote,
    /// The same, and the old primary is the primary again, with connections that it kept.
    AwayAndBack,
    /// Redis goes on with older data.
    Fallback,
    /// Primaries die, and replicas that were behind take over.
    Failover,
    /// The same twice from one place.
    Twice,
    /// Old primaries wake, or go on for a while, and become replicas with their connections.
    Zombie,
    /// Two servers answer for one.
    Split,
    /// Single keys are evicted, which `maxmemory-policy noeviction` rules out.
    Evict,
}

impl Family {
    /// Those whose every failure is a fault, and that find none today.
    pub const SOUND: [Self; 15] = [
        Self::Mixed,
        Self::Churn,
        Self::Direct,
        Self::Burst,
        Self::Thin,
        Self::Users,
        Self::Wiped,
        Self::Restart,
        Self::Demote,
        Self::AwayAndBack,
        Self::Fallback,
        Self::Failover,
        Self::Twice,
        Self::Zombie,
        Self::Split,
    ];

    /// Whether it is about servers that take over from each other.
    pub fn is_about_reigns(self) -> bool {
        use Family::{AwayAndBack, Demote, Failover, Fallback, Restart, Split, Twice, Zombie};
        matches!(self, Restart | Demote | AwayAndBack | Fallback | Failover | Twice | Zombie | Split)
    }

    pub fn plan(self, seed: u64) -> Plan {
        let mut chance = Chance::of(seed, &format!("plan {self:?}"), 0);
        let mut plan = mixed(&mut chance, seed, self);
        match self {
            Self::Mixed => plan.steps = steps(&mut chance, &plan, harmless),
            Self::Churn | Self::Direct => churn(&mut chance, &mut plan),
            Self::Burst => burst(&mut chance, &mut plan),
            Self::Thin => thin(&mut chance, &mut plan),
            Self::Users | Self::Members => users(&mut chance, &mut plan),
            Self::Wiped => plan.steps = steps(&mut chance, &plan, wiping),
            Self::Restart => reigns(&mut chance, &mut plan, restarting),
            Self::Demote => reigns(&mut chance, &mut plan, demoting),
            Self::AwayAndBack => reigns(&mut chance, &mut plan, going_back),
            Self::Fallback => reigns(&mut chance, &mut plan, falling_back),
            Self::Failover => reigns(&mut chance, &mut plan, failing_over),
            Self::Twice => reigns(&mut chance, &mut plan, failing_twice),
            Self::Zombie => reigns(&mut chance, &mut plan, waking),
            Self::Split => reigns(&mut chance, &mut plan, splitting),
            Self::Evict => plan.steps = steps(&mut chance, &plan, |_, _| Fault::EvictAny),
        }
        plan
    }
}

fn mixed(chance: &mut Chance, seed: u64, family: Family) -> Plan {
    let top = chance.skewed(2000, 200_000);
    let topics = chance.range(1, 4) as usize;
    Plan {
        seed,
        family,
        nodes: chance.range(1, 3) as usize,
        partitions: chance.range(1, 2) as u8,
        topics,
        unstored: usize::from(chance.percent(30) && topics > 1),
        publishers: chance.range(1, 3) as usize,
        clients: chance.range(1, 4) as usize,
        users: 0,
        direct: false,
        latency: (chance.range(20, top), top),
        bandwidth: 0,
        stays_slow: chance.percent(20),
        output_limit: if chance.percent(20) { 4 << 10 } else { 0 },
        pause: chance.skewed(50, 6000),
        stay: chance.skewed(100, 8000),
        away: chance.skewed(50, 4000),
        linger: if chance.percent(50) { 0 } else { chance.skewed(0, 1500) },
        heartbeat: chance.skewed(200, 15_000),
        ring: *chance.pick(&[1, 4, 128]),
        keeps: *chance.pick(&[20, 100_000, 100_000]),
        payload: *chance.pick(&[0, 0, 200]),
        keyed: *chance.pick(&[0, 50, 100]),
        batched: *chance.pick(&[0, 0, 30]),
        length: chance.range(2000, 8000),
        queue: *chance.pick(&[64 << 20, 64 << 20, 64 << 10]),
        steps: Vec::new(),
    }
}

/// Faults at their times. Each of the kinds is in a plan with a chance of 40 percent, so that
/// one does not hide the others.
fn steps(chance: &mut Chance, plan: &Plan, fault: fn(u64, &mut Chance) -> Fault) -> Vec<Step> {
    let mut kinds: Vec<u64> = (0..12).filter(|_| chance.percent(40)).collect();
    if kinds.is_empty() {
        kinds.push(chance.range(0, 11));
    }
    let (mut steps, mut at, between) = (Vec::new(), 0, chance.skewed(200, 5000));
    loop {
        at += chance.skewed(50, between);
        if at >= plan.length {
            return steps;
        }
        let fault = fault(*chance.pick(&kinds), chance);
        let one = matches!(fault, Fault::Isolate { .. } | Fault::Reboot { .. } | Fault::Stale { .. })
            || chance.percent(50);
        steps.push(Step { at, node: one.then(|| chance.index(plan.nodes)), fault });
    }
}

/// Nothing that was acknowledged is lost.
fn harmless(kind: u64, chance: &mut Chance) -> Fault {
    let ms = chance.skewed(1, 3000);
    match kind {
        0 => Fault::Cut { percent: 50 },
        1 => Fault::Cut { percent: 100 },
        2 => Fault::Stall { percent: 50, ms: ms * 3 },
        3 => Fault::Pause { ms },
        4 => Fault::Restart { ms },
        5 => Fault::Scripts,
        6 => {
            let why = *chance.pick(&[Refusal::Oom, Refusal::ReadOnly, Refusal::Misconf]);
            Fault::Refuse { why, ms }
        }
        7 => {
            let from = chance.skewed(100, 120_000);
            Fault::Slow { from, to: from * 2 }
        }
        8 => Fault::Isolate { ms: ms * 2 },
        9 => Fault::Reboot { ms },
        _ => Fault::Cut { percent: 30 },
    }
}

fn wiping(kind: u64, chance: &mut Chance) -> Fault {
    match kind {
        0..4 => Fault::Wiped { ms: chance.skewed(1, 3000) },
        4..8 => Fault::EvictPlace,
        _ => harmless(kind - 8, chance),
    }
}

/// Servers that take over from each other. Histories are kept whole, so that a reset can only be
/// about what was lost.
fn reigns(chance: &mut Chance, plan: &mut Plan, fault: fn(u64, &mut Chance) -> Fault) {
    plan.keeps = 100_000;
    plan.steps = steps(chance, plan, fault);
    // Fewer than ids outlive.
    plan.steps.truncate(14);
}

fn restarting(kind: u64, chance: &mut Chance) -> Fault {
    match kind {
        0..5 => Fault::Restart { ms: chance.skewed(1, 3000) },
        5..7 => Fault::Reign,
        _ => beside(kind, chance),
    }
}

fn demoting(kind: u64, chance: &mut Chance) -> Fault {
    match kind {
        0..5 => Fault::Demote { ms: 0, back: false },
        5..7 => Fault::Failover { ms: chance.skewed(1, 2000), lag: 0 },
        _ => beside(kind, chance),
    }
}

fn going_back(kind: u64, chance: &mut Chance) -> Fault {
    match kind {
        0..7 => Fault::Demote { ms: chance.skewed(1, 2000), back: true },
        _ => beside(kind, chance),
    }
}

fn falling_back(kind: u64, chance: &mut Chance) -> Fault {
    match kind {
        0..7 => Fault::Fallback { ms: chance.skewed(1, 2000), lag: chance.skewed(1, 1000) },
        _ => beside(kind, chance),
    }
}

fn failing_over(kind: u64, chance: &mut Chance) -> Fault {
    match kind {
        0..7 => Fault::Failover { ms: chance.skewed(1, 2000), lag: chance.skewed(1, 1000) },
        _ => beside(kind, chance),
    }
}

fn failing_twice(kind: u64, chance: &mut Chance) -> Fault {
    match kind {
        0..7 => Fault::Twice { ms: chance.skewed(1, 4000), lag: chance.skewed(1, 1000), old: old(chance) },
        _ => beside(kind, chance),
    }
}

fn waking(kind: u64, chance: &mut Chance) -> Fault {
    let (ms, lag) = (chance.skewed(1, 4000), chance.skewed(1, 1000));
    match kind {
        0..4 => Fault::Zombie { ms, lag, old: Old::Follows },
        4..7 => Fault::Split { ms, lag, old: Old::Follows },
        _ => beside(kind, chance),
    }
}

fn splitting(kind: u64, chance: &mut Chance) -> Fault {
    let (ms, lag) = (chance.skewed(1, 4000), chance.skewed(1, 1000));
    match kind {
        0..2 => Fault::Twice { ms, lag, old: old(chance) },
        2..4 => Fault::Zombie { ms, lag, old: old(chance) },
        4..7 => Fault::Split { ms, lag, old: old(chance) },
        _ => beside(kind, chance),
    }
}

fn old(chance: &mut Chance) -> Old {
    *chance.pick(&[Old::Ends, Old::Follows])
}

/// What happens to nodes at the same time: connections break, and processes end with what they
/// know.
fn beside(kind: u64, chance: &mut Chance) -> Fault {
    let ms = chance.skewed(1, 3000);
    match kind {
        7 => Fault::Reboot { ms },
        8 => Fault::Isolate { ms: ms * 2 },
        9 => Fault::Stall { percent: 50, ms },
        10 => Fault::Stale { ms },
        _ => Fault::Cut { percent: 50 },
    }
}

fn churn(chance: &mut Chance, plan: &mut Plan) {
    plan.direct = plan.family == Family::Direct;
    plan.nodes = chance.range(1, 2) as usize;
    plan.topics = chance.range(1, 3) as usize;
    plan.unstored = 0;
    plan.clients = if plan.direct { 0 } else { chance.range(2, 5) as usize };
    plan.publishers = chance.range(1, 2) as usize;
    (plan.pause, plan.stay, plan.away) =
        (chance.range(40, 400), chance.range(40, 600), chance.range(20, 600));
    plan.linger = 0;
    let low = chance.range(500, 60_000);
    plan.latency = (low, low * 2);
    (plan.stays_slow, plan.output_limit, plan.length) = (false, 0, 6000);
    let (mut at, between) = (0, chance.range(200, 1500));
    while at < plan.length {
        at += chance.range(100, between);
        let percent = *chance.pick(&[50, 100]);
        let node = chance.percent(70).then(|| chance.index(plan.nodes));
        plan.steps.push(Step { at, node, fault: Fault::Cut { percent } });
    }
}

/// A topic's first client comes with the id of its last event. Two partitions' heads arrive one
/// after the other, and several events between them: a hub that keeps few has let some go before it
/// hears of the confirmation.
fn burst(chance: &mut Chance, plan: &mut Plan) {
    (plan.nodes, plan.partitions, plan.topics, plan.unstored) = (chance.range(1, 2) as usize, 2, 1, 0);
    (plan.clients, plan.publishers) = (chance.range(2, 4) as usize, 2);
    (plan.ring, plan.linger, plan.batched, plan.keyed) = (chance.range(1, 2) as usize, 0, 80, 0);
    (plan.stay, plan.away, plan.pause) = (chance.range(20, 60), chance.range(20, 100), chance.range(20, 120));
    let low = chance.range(3000, 12_000);
    plan.latency = (low, low * 2);
    (plan.stays_slow, plan.output_limit, plan.keeps, plan.length) = (false, 0, 100_000, 2000);
}

fn thin(chance: &mut Chance, plan: &mut Plan) {
    let low = chance.range(10_000, 200_000);
    plan.latency = (low, low + low / 4);
    plan.bandwidth = chance.range(20, 200);
    (plan.nodes, plan.partitions, plan.topics, plan.unstored) = (2, 1, chance.range(1, 3) as usize, 0);
    (plan.clients, plan.publishers, plan.keeps) = (2, 1, 100_000);
    // One publisher waits for each answer: that many bytes a round trip leave some of the link free
    // for what was missed.
    let carried = plan.bandwidth * (2 * low / 1000);
    plan.payload = (carried * chance.range(20, 50) / 100) as usize;
    plan.pause = 2;
    (plan.stay, plan.away) = *chance.pick(&[(60_000, 200), (3000, 5000)]);
    plan.linger = 20_000;
    (plan.keyed, plan.batched, plan.output_limit, plan.ring) = (0, 0, 0, *chance.pick(&[1, 128]));
    (plan.stays_slow, plan.queue, plan.length) = (true, 64 << 20, 8000);
    let ms = chance.range(2000, 6000);
    plan.steps = vec![Step { at: 1000, node: Some(1), fault: Fault::Isolate { ms } }];
}

fn users(chance: &mut Chance, plan: &mut Plan) {
    plan.users = chance.range(1, 2) as usize;
    plan.clients = plan.users + chance.range(0, 2) as usize;
    plan.partitions = 1;
    plan.keeps = 100_000;
    plan.steps = steps(chance, plan, harmless);
}
