//! Clients as browsers are: they leave, and come back to any node with the last id that they have.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tidegate_hub::{Join, Resume, SubscriberHandle};
use tidegate_protocol::Topic;
use tokio::time::{Instant, sleep, sleep_until};

use super::World;
use super::node::Node;
use crate::chance::Chance;
use crate::oracle::Got;

impl World {
    pub(super) async fn client(self: Arc<Self>, mut chance: Chance, me: usize) {
        let topics = self.wishes(&mut chance, me);
        let user = (me < self.plan.users).then(|| user(me));
        let mut last: Option<String> = None;
        sleep(Duration::from_millis(chance.skewed(0, 3000))).await;
        loop {
            let number = chance.index(self.plan.nodes);
            let resume = last.clone().map_or(Resume::Live, Resume::After);
            let join = Join::new(topics.clone()).user(user.clone()).resume(resume);
            let joined = match self.node(number) {
                Some(node) => {
                    tokio::select! {
                        joined = node.hub.join(join) => joined.ok().map(|stream| (node, stream)),
                        () = node.stopped() => None,
                    }
                }
                None => None,
            };
            let Some((node, stream)) = joined else {
                sleep(Duration::from_millis(chance.range(50, 2000))).await;
                continue;
            };
            let stay = Duration::from_millis(chance.skewed(20, self.plan.stay));
            self.listen(me, &node, stream, stay, &mut last).await;
            let away = if self.is_quiet() { 10 } else { chance.skewed(10, self.plan.away) };
            sleep(Duration::from_millis(away)).await;
        }
    }

    /// Users listen to their memberships, others to one topic or several.
    fn wishes(&self, chance: &mut Chance, me: usize) -> Vec<Topic> {
        let most = if chance.percent(60) { 1 } else { self.topics.len() };
        let topics: BTreeSet<Topic> = (0..most).map(|_| chance.pick(&self.topics).clone()).collect();
        let topics = if me < self.plan.users { Vec::new() } else { topics.into_iter().collect::<Vec<_>>() };
        self.log.lock().wants.insert(me, topics.clone());
        topics
    }

    async fn listen(
        &self,
        me: usize,
        node: &Node,
        mut stream: SubscriberHandle,
        stay: Duration,
        last: &mut Option<String>,
    ) {
        let leave = Instant::now() + stay;
        let mut ready = false;
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = poll_fn(|context| stream.poll_next(context)) => chunk,
                () = node.stopped() => None,
                // In the end all stay.
                () = sleep_until(leave), if ready && !self.is_quiet() => None,
                () = self.quiet(), if !self.is_quiet() => continue,
            };
            let Some(chunk) = chunk else { break };
            ready = true;
            self.read(me, node.number, &chunk.bytes, last);
        }
        drop(stream);
        self.note(|| format!("client {me} left node {} with {last:?}", node.number));
        self.log.lock().record(me, Got::Left);
    }

    fn read(&self, me: usize, node: usize, bytes: &[u8], last: &mut Option<String>) {
        for block in String::from_utf8_lossy(bytes).split("\n\n") {
            let (mut event, mut data) = ("", "");
            for line in block.lines() {
                match line.split_once(':') {
                    Some(("id", id)) => *last = Some(id.trim().to_string()),
                    Some(("event", name)) => event = name.trim(),
                    Some(("data", text)) => data = text.trim(),
                    _ => {}
                }
            }
            let got = match event {
                "tidegate:ready" => Got::Ready,
                "tidegate:reset" => self.reset(data),
                "" if !data.is_empty() => Got::Event { number: number(data.as_bytes()).expect("a number") },
                _ => continue,
            };
            self.note(|| {
                format!("client {me} at node {node}: {got:?}, id {}", last.as_deref().unwrap_or("-"))
            });
            self.log.lock().record(me, got);
        }
    }

    fn reset(&self, data: &str) -> Got {
        let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
        let named = data["topics"].as_array().expect("topics");
        let known = |topic: &&Topic| named.iter().any(|name| name.as_str() == Some(topic.as_str()));
        let reason = data["reason"].as_str().unwrap_or_default().into();
        Got::Reset { topics: self.topics.iter().filter(known).cloned().collect(), reason }
    }
}

pub(super) fn user(number: usize) -> Topic {
    Topic::user(&format!("u{number}")).expect("valid")
}

/// An event's data begin with its number.
pub(crate) fn number(data: &[u8]) -> Option<usize> {
    std::str::from_utf8(data).ok()?.split(' ').next()?.parse().ok()
}
