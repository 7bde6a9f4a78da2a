//! What goes wrong, at its time, and how all of it is mended in the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::{SLOWLY, World};
use crate::chance::Chance;
use crate::oracle::{self, Failure};
use crate::plan::{Fault, Old, Step};
use crate::redis::Keyspace;

impl World {
    /// Runs all steps and mends everything.
    pub(super) async fn faults(self: &Arc<Self>) -> Vec<Failure> {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for (number, step) in self.plan.steps.iter().enumerate() {
            let (world, step) = (Arc::clone(self), step.clone());
            let chance = Chance::of(self.plan.seed, "fault", number);
            running.spawn(async move {
                sleep_until(begun + Duration::from_millis(step.at)).await;
                world.note(|| format!("fault {step:?}"));
                world.fault(&step, chance).await;
            });
        }
        sleep(Duration::from_millis(self.plan.length)).await;
        running.abort_all();
        while running.join_next().await.is_some() {}
        self.mend(!self.plan.stays_slow);
        if !self.plan.stays_slow {
            return Vec::new();
        }
        sleep(SLOWLY).await;
        let failures = oracle::ready(self, true);
        self.mend(true);
        failures
    }

    /// No faults any more; `links`: they are good, too.
    fn mend(self: &Arc<Self>, links: bool) {
        self.note(|| format!("mended, links {links}"));
        {
            let mut state = self.redis.state();
            let current = state.current;
            for server in (0..state.servers.len()).filter(|server| *server != current) {
                // Replicas stay, with those who are connected to them.
                if !state.servers[server].is_replica() {
                    state.cut_server(server);
                    state.servers[server].up = false;
                }
            }
            let primary = state.primary();
            (primary.up, primary.refuses, primary.paused_until) = (true, None, Instant::now());
            state.network.isolated.clear();
            state.network.stale.clear();
            if links {
                state.network.latency = (50, 500);
                (state.network.bandwidth, state.network.output_limit) = (u64::MAX, usize::MAX);
            }
        }
        for number in 0..self.plan.nodes {
            if self.node(number).is_none() {
                self.start(number);
            }
        }
    }

    async fn fault(self: &Arc<Self>, step: &Step, mut chance: Chance) {
        let node = step.node.map(|node| node % self.plan.nodes);
        let one = node.unwrap_or(0);
        let millis = Duration::from_millis;
        match step.fault {
            Fault::Cut { percent } => self.redis.state().cut(node, percent),
            Fault::Stall { percent, ms } => self.redis.state().stall(node, percent, millis(ms)),
            Fault::Pause { ms } => self.redis.state().primary().paused_until = Instant::now() + millis(ms),
            Fault::Restart { ms } => self.restart(ms, None).await,
            Fault::Fallback { ms, lag } => {
                let old = self.copy();
                sleep(millis(lag)).await;
                self.restart(ms, Some(old)).await;
            }
            Fault::Wiped { ms } => {
                let stream_node = self.copy().stream_node;
                self.restart(ms, Some(Keyspace::new(stream_node))).await;
            }
            Fault::Failover { ms, lag } => {
                let replica = self.copy();
                sleep(millis(lag)).await;
                self.fail_over(ms, (lag > 0).then_some(replica)).await;
            }
            Fault::Twice { ms, lag, old } => {
                let replicas = self.copy();
                sleep(millis(lag)).await;
                self.fail_over(ms / 4, Some(replicas.clone())).await;
                sleep(millis(ms)).await;
                match old {
                    Old::Ends => self.fail_over(ms / 4, Some(replicas)).await,
                    Old::Follows => self.split(ms, replicas, (old, &mut chance)).await,
                }
            }
            Fault::Zombie { ms, lag, old } => self.zombie(ms, lag, (old, &mut chance)).await,
            Fault::Split { ms, lag, old } => {
                let replica = self.copy();
                sleep(millis(lag)).await;
                self.split(ms, replica, (old, &mut chance)).await;
            }
            Fault::Demote { ms, back } => self.demote(back.then_some(millis(ms)), &mut chance).await,
            Fault::Reign => {
                let mut state = self.redis.state();
                let server = *state.network.stale.get(&one).unwrap_or(&state.current);
                if !state.servers[server].is_replica() {
                    state.new_reign(server);
                }
            }
            Fault::Stale { ms } => {
                {
                    let mut state = self.redis.state();
                    let current = state.current;
                    state.network.stale.insert(one, current);
                }
                sleep(millis(ms)).await;
                self.redis.state().network.stale.remove(&one);
            }
            Fault::EvictPlace => {
                let partition = chance.range(0, u64::from(self.plan.partitions) - 1);
                let keys = ["epoch", "offset", "place"].map(|key| format!("tg:{{{partition}}}:{key}"));
                let mut state = self.redis.state();
                let names = state.primary().db.names();
                let there: Vec<_> = keys.iter().filter(|key| names.contains(*key)).collect();
                if !there.is_empty() {
                    let key = *chance.pick(&there);
                    state.primary().db.remove(key.as_bytes());
                }
            }
            Fault::EvictAny => {
                let mut state = self.redis.state();
                let names = state.primary().db.names();
                if !names.is_empty() {
                    let name = chance.pick(&names);
                    self.note(|| format!("evicted {name}"));
                    state.primary().db.remove(name.as_bytes());
                }
            }
            Fault::Scripts => self.redis.state().primary().forget_scripts(),
            Fault::Refuse { why, ms } => {
                self.redis.state().primary().refuses = Some(why);
                sleep(millis(ms)).await;
                self.redis.state().primary().refuses = None;
            }
            Fault::Slow { from, to } => self.redis.state().network.latency = (from, to),
            Fault::Isolate { ms } => {
                {
                    let mut state = self.redis.state();
                    state.network.isolated.insert(one);
                    state.cut(Some(one), 100);
                }
                sleep(millis(ms)).await;
                self.redis.state().network.isolated.remove(&one);
            }
            Fault::Reboot { ms } => {
                self.stop(one);
                sleep(millis(ms)).await;
                if self.node(one).is_none() {
                    self.start(one);
                }
            }
        }
    }

    fn copy(&self) -> Keyspace {
        self.redis.state().primary().db.clone()
    }

    /// The primary ends, and is back after a while with `db`, or with what it had.
    async fn restart(&self, ms: u64, db: Option<Keyspace>) {
        let server = {
            let mut state = self.redis.state();
            let server = state.current;
            let db = db.unwrap_or_else(|| state.servers[server].db.clone());
            state.restart(server, db);
            server
        };
        sleep(Duration::from_millis(ms)).await;
        self.redis.state().servers[server].up = true;
    }

    /// The primary dies; after a while a replica takes over: with these data, or with all.
    async fn fail_over(&self, ms: u64, replica: Option<Keyspace>) {
        let old = {
            let mut state = self.redis.state();
            let current = state.current;
            state.cut_server(current);
            state.servers[current].up = false;
            current
        };
        sleep(Duration::from_millis(ms)).await;
        let mut state = self.redis.state();
        // Unless another has done so.
        if state.current == old {
            let all = state.primary().db.clone();
            state.promote(replica.unwrap_or(all));
        }
    }

    /// The primary stops without a word. When it wakes, it answers what waits, until it hears that
    /// it is none any more.
    async fn zombie(&self, ms: u64, lag: u64, (end, chance): (Old, &mut Chance)) {
        let replica = self.copy();
        sleep(Duration::from_millis(lag)).await;
        let wakes = Instant::now() + Duration::from_millis(ms);
        let old = {
            let mut state = self.redis.state();
            let old = state.current;
            state.servers[old].paused_until = wakes;
            old
        };
        sleep(Duration::from_millis(ms / 2)).await;
        self.redis.state().promote(replica);
        sleep_until(wakes + Duration::from_millis(lag)).await;
        self.retire(old, end, chance);
    }

    /// The old primary goes on for those who are connected to it.
    async fn split(&self, ms: u64, replica: Keyspace, (end, chance): (Old, &mut Chance)) {
        let old = {
            let mut state = self.redis.state();
            let old = state.current;
            state.promote(replica);
            old
        };
        // New connections find the new one: some of the old ones end, so that both are in use.
        self.redis.state().cut(None, 50);
        sleep(Duration::from_millis(ms)).await;
        self.retire(old, end, chance);
    }

    /// A primary that is none any more.
    fn retire(&self, old: usize, end: Old, chance: &mut Chance) {
        let current = self.redis.state().current;
        match end {
            _ if old == current => {}
            Old::Ends => self.redis.state().cut_server(old),
            Old::Follows => self.redis.demote(old, current, Some(loading(chance))),
        }
    }

    /// A replica with all data takes over. `back`: when the old primary does.
    async fn demote(&self, back: Option<Duration>, chance: &mut Chance) {
        let (old, new) = {
            let mut state = self.redis.state();
            let (old, all) = (state.current, state.primary().db.clone());
            (old, state.promote(all))
        };
        self.redis.demote(old, new, chance.percent(50).then(|| loading(chance)));
        let Some(back) = back else { return };
        sleep(back).await;
        let full = chance.percent(50).then(|| loading(chance));
        {
            let mut state = self.redis.state();
            // Unless something else has happened to either.
            if state.current != new || !state.servers[old].is_replica() {
                return;
            }
            state.promote_server(old);
        }
        self.redis.demote(new, old, full);
    }
}

/// How long a new replica takes to load its primary's data.
fn loading(chance: &mut Chance) -> Duration {
    Duration::from_millis(chance.skewed(1, 100))
}
