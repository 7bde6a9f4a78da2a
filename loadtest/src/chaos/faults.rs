//! Makes go wrong what the schedule says, and right again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use tidegate_children::Signal;

use super::client::Stage;
use super::cluster::Cluster;
use super::schedule::{Fault, Step};
use crate::wait;

/// A fault that was, in microseconds since the start. What happens until the next one begins is its doing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happened {
    pub(super) fault: Fault,
    pub(super) from: u64,
    /// When everything was as before, clients apart.
    pub(super) mended: u64,
}

/// All steps, one after the other, each not before its time.
pub(super) fn run(steps: &[Step], cluster: &Cluster, stage: &Stage) -> Result<Vec<Happened>> {
    let began = Instant::now();
    let mut happened = Vec::new();
    for step in steps {
        stage.shared.phase("quiet");
        wait::pause((began + step.at).saturating_duration_since(Instant::now()));
        stage.shared.phase(step.fault.name());
        let from = stage.now();
        perform(step, cluster, stage)?;
        cluster.all_ready()?;
        happened.push(Happened { fault: step.fault, from, mended: stage.now() });
    }
    stage.shared.phase("quiet");
    Ok(happened)
}

fn perform(step: &Step, cluster: &Cluster, stage: &Stage) -> Result<()> {
    let again = |what: &dyn Fn() -> Result<()>| {
        for _ in 0..step.times {
            what()?;
            wait::pause(step.time);
        }
        Ok(())
    };
    match step.fault {
        Fault::Kill => {
            cluster.kill_node(step.node)?;
            wait::pause(step.time);
            cluster.start_node(step.node)
        }
        Fault::KillAll => {
            let nodes = 0..cluster.gateways().len();
            nodes.clone().try_for_each(|node| cluster.kill_node(node))?;
            wait::pause(step.time);
            nodes.into_iter().try_for_each(|node| cluster.start_node(node))
        }
        Fault::Rolling => (0..cluster.gateways().len()).try_for_each(|node| {
            cluster.drain_node(node)?;
            cluster.start_node(node)
        }),
        Fault::PauseNode => {
            cluster.signal_node(step.node, Signal::SIGSTOP);
            wait::pause(step.time);
            cluster.signal_node(step.node, Signal::SIGCONT);
            Ok(())
        }
        Fault::PauseRedis => {
            cluster.signal_redis(Signal::SIGSTOP);
            wait::pause(step.time);
            cluster.signal_redis(Signal::SIGCONT);
            Ok(())
        }
        Fault::RestartRedis | Fault::WipeRedis => {
            cluster.kill_redis();
            wait::pause(step.time);
            cluster.start_redis(step.fault == Fault::RestartRedis)
        }
        Fault::Deaf => again(&|| cluster.ask_redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).map(drop)),
        Fault::CutRedis => again(&|| {
            cluster.redis_wire.cut();
            Ok(())
        }),
        Fault::Reload => {
            cluster.reload_front();
            // The old worker's streams end in a second.
            wait::pause(Duration::from_secs(1));
            Ok(())
        }
        Fault::Cut => again(&|| {
            cluster.wire.cut();
            Ok(())
        }),
        Fault::Stall => {
            stage.stalled.store(true, Ordering::Relaxed);
            wait::pause(step.time);
            stage.stalled.store(false, Ordering::Relaxed);
            Ok(())
        }
        Fault::Garbage => Ok(()),
    }
}
