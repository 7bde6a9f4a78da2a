//! Smaller plans to try.

use super::Plan;

impl Plan {
    /// Plans with something taken out, the most promising first. Each is smaller, so trying ends.
    pub fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let steps = self.steps.len();
        for size in [steps / 2, steps / 4, 1] {
            for from in (0..steps).step_by(size.max(1)) {
                let mut plan = self.clone();
                plan.steps.drain(from..(from + size.max(1)).min(steps));
                all.push(plan);
            }
        }
        let changes: [fn(&mut Self); 15] = [
            |plan| plan.nodes = (plan.nodes - 1).max(1),
            |plan| plan.clients = plan.clients.saturating_sub(1).max(plan.users),
            |plan| plan.users = plan.users.saturating_sub(1),
            |plan| plan.publishers = (plan.publishers - 1).max(1),
            |plan| plan.topics = (plan.topics - 1).max(1 + plan.unstored),
            |plan| plan.unstored = 0,
            |plan| plan.partitions = 1,
            |plan| plan.length = plan.length * 3 / 4,
            |plan| plan.pause *= 2,
            |plan| plan.payload /= 2,
            |plan| plan.stays_slow = false,
            |plan| plan.keyed = 0,
            |plan| plan.batched = 0,
            |plan| plan.latency = (1000, 1000),
            |plan| plan.steps.retain(|step| step.at < plan.length),
        ];
        for change in changes {
            let mut plan = self.clone();
            change(&mut plan);
            all.push(plan);
        }
        // A publisher that waits less for its answers would publish more than a thin link carries.
        all.retain(|plan| plan.bandwidth == 0 || plan.latency == self.latency);
        all.retain(|plan| plan.size() < self.size());
        all
    }
}
