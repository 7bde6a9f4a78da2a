//! Wants a topic of a node's broker and lets it go, again and again: what a hub's patience would
//! hide.

use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::Broker;
use tokio::time::sleep;

use super::World;
use crate::chance::Chance;

impl World {
    pub(super) async fn fickle(self: Arc<Self>, mut chance: Chance, node: usize, topic: usize) {
        let topic = self.topics[topic].clone();
        loop {
            let Some(node) = self.node(node) else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let stay = Duration::from_millis(chance.skewed(1, self.plan.stay));
            let stays = async {
                let _ = node.tap.subscribe(vec![topic.clone()]).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = stays => {}
                () = sleep(stay) => {}
                () = self.quiet() => {
                    let _ = node.tap.subscribe(vec![topic.clone()]).await;
                    return;
                }
            }
            node.tap.unsubscribe(vec![topic.clone()]);
            sleep(Duration::from_millis(chance.skewed(1, self.plan.away))).await;
        }
    }
}
