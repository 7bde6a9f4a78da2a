use std::collections::BTreeMap;
use std::fmt::Display;

use tidegate_protocol::{MAX_PARTITIONS, Partition, Topic};

/// Names of keys and channels. All of a partition's share one hash tag, so one script may touch them.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
    /// Before channels: Pub/Sub knows no databases.
    channels: String,
    partitions: u8,
}

impl Keys {
    /// `database`: the number of the one that the keys are in.
    pub(crate) fn new(prefix: &str, partitions: u8, database: i64) -> Self {
        // No prefix has an @.
        let channels = if database == 0 { prefix.into() } else { format!("{prefix}@{database}") };
        Self { prefix: prefix.into(), channels, partitions }
    }

    /// How many partitions there are.
    pub(crate) fn count(&self) -> u8 {
        self.partitions
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.partitions.min(MAX_PARTITIONS)).filter_map(Partition::new)
    }

    pub(crate) fn partition(&self, topic: &Topic) -> Partition {
        topic.partition(self.partitions)
    }

    /// Things by the partition of their topic, each partition's in their order.
    pub(crate) fn by_partition<T>(
        &self,
        things: Vec<T>,
        partition: impl Fn(&Keys, &T) -> Partition,
    ) -> BTreeMap<Partition, Vec<T>> {
        let mut parts: BTreeMap<Partition, Vec<T>> = BTreeMap::new();
        for thing in things {
            parts.entry(partition(self, &thing)).or_default().push(thing);
        }
        parts
    }

    /// The three keys that every script begins with: the place, and epoch and counter as gateways of
    /// the version before keep them.
    pub(crate) fn place(&self, partition: Partition) -> [String; 3] {
        ["place", "epoch", "offset"].map(|name| format!("{}:{{{partition}}}:{name}", self.prefix))
    }

    pub(crate) fn stream(&self, topic: &Topic) -> String {
        self.of('s', topic, topic)
    }

    pub(crate) fn record(&self, topic: &Topic) -> String {
        self.of('t', topic, topic)
    }

    pub(crate) fn channel(&self, topic: &Topic) -> String {
        format!("{}:{{{}}}:c:{topic}", self.channels, self.partition(topic))
    }

    /// Topics hold no white space, so topic and key can't be read as another pair. Not hashed: no two keys ever share a receipt.
    pub(crate) fn idempotency(&self, topic: &Topic, key: &str) -> String {
        self.of('k', topic, format_args!("{topic} {key}"))
    }

    pub(crate) fn version(&self, topic: &Topic) -> String {
        self.of('v', topic, topic)
    }

    pub(crate) fn members(&self, user: &Topic) -> String {
        self.owned('m', user)
    }

    pub(crate) fn disconnects(&self, user: &Topic) -> String {
        self.owned('d', user)
    }

    /// Of a user by the id. What an application has instead of one stands behind a space, which no id has: users may be called anything.
    fn owned(&self, kind: char, user: &Topic) -> String {
        match user.owner() {
            Some(id) => self.of(kind, user, id),
            None => self.of(kind, user, format_args!(" {user}")),
        }
    }

    fn of(&self, kind: char, topic: &Topic, name: impl Display) -> String {
        format!("{}:{{{}}}:{kind}:{name}", self.prefix, self.partition(topic))
    }
}
