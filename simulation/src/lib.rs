//! The real Redis broker and the real hub, several nodes of them, over a model of Redis, in virtual
//! time, from a seed.
//!
//! [`simulate`] runs a [`Plan`]; docs/simulation.md says how to use the program around it.

mod chance;
pub mod kept;
mod oracle;
mod os;
pub mod plan;
pub mod redis;
pub mod runner;
mod trace;
mod world;

pub use chance::Chance;
pub use oracle::{Counts, Failure};
pub use plan::{Family, Plan};
pub use world::Outcome;

/// Runs a plan in a thread of its own: std's hash keys and rand's generator are made in each
/// thread, of what we give for chance.
pub fn simulate(plan: &Plan, traced: bool) -> Result<Outcome, Failure> {
    let plan = plan.clone();
    let run = move || {
        os::seed(plan.seed);
        let seed = tokio::runtime::RngSeed::from_bytes(&plan.seed.to_le_bytes());
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).rng_seed(seed).build().expect("a runtime");
        runtime.block_on(world::run(plan, traced))
    };
    let thread = std::thread::Builder::new().stack_size(4 << 20).spawn(run).expect("a thread");
    thread.join().map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).into()));
        Failure::new("PANIC", words.unwrap_or_default())
    })
}
