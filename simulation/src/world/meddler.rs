//! Changes a user's memberships, disconnects the user, and deletes topics' histories.

use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::Broker;
use tokio::time::Instant;

use super::World;
use super::client::user;
use crate::chance::Chance;
use crate::oracle::{Act, Deed};

impl World {
    pub(super) async fn meddler(self: Arc<Self>, mut chance: Chance, me: usize) {
        let user = user(me);
        loop {
            let pause = chance.skewed(20, 3000);
            if !self.pause(Duration::from_millis(pause)).await {
                return;
            }
            let topic = chance.pick(&self.topics).clone();
            let act = match chance.range(0, 9) {
                0..5 => Act::Join(topic),
                5..8 => Act::Leave(topic),
                8 => Act::Disconnect,
                _ => Act::Forget(topic),
            };
            let Some(node) = self.node(chance.index(self.plan.nodes)) else { continue };
            let number = self.log.lock().attempt(Deed {
                user: me,
                act: act.clone(),
                begun: Instant::now(),
                done: None,
            });
            let done = async {
                match &act {
                    Act::Join(topic) => node.broker.set_membership(&user, topic, true).await.is_ok(),
                    Act::Leave(topic) => node.broker.set_membership(&user, topic, false).await.is_ok(),
                    Act::Disconnect => node.broker.disconnect(&user).await.is_ok(),
                    Act::Forget(topic) => node.broker.forget(topic).await.is_ok(),
                }
            };
            let done = tokio::select! {
                done = done => done,
                () = node.stopped() => false,
            };
            self.note(|| format!("user {me}: {act:?} by node {}: {done}", node.number));
            if done {
                self.log.lock().deeds[number].done = Some(Instant::now());
            }
        }
    }
}
