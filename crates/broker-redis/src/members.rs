//! What is known of users across nodes: memberships, and how often they were disconnected.

use redis::Value;
use tidegate_broker::Error;
use tidegate_protocol::{Cursor, Message, Position, Topic};

use crate::connect::unexpected;
use crate::history::Reader;
use crate::scripts::{self, eval};

/// A disconnect is of interest to nodes that missed it: none is away for a week and keeps its streams.
const COUNT_TTL_MS: u64 = 7 * 24 * 3600 * 1000;

impl Reader {
    pub(crate) async fn memberships_of(&self, users: &[Topic]) -> Result<Vec<Vec<Topic>>, Error> {
        let topic = |item| match item {
            Value::BulkString(bytes) => Topic::parse(&String::from_utf8(bytes).ok()?).ok(),
            _ => None,
        };
        let list = |answer| match answer {
            Value::Set(items) | Value::Array(items) => Ok(items.into_iter().filter_map(topic).collect()),
            other => Err(scripts::failure(&other, "a set")),
        };
        let members = |user| {
            let mut command = redis::cmd("SMEMBERS");
            command.arg(self.keys.members(user));
            command
        };
        self.run(users.iter().map(members)).await?.into_iter().map(list).collect()
    }

    pub(crate) async fn set_membership(
        &self,
        user: &Topic,
        topic: &Topic,
        member: bool,
    ) -> Result<bool, Error> {
        let message = if member {
            Message::Joined { topic: topic.clone(), from: self.place_of(topic, user).await? }
        } else {
            Message::Left { topic: topic.clone() }
        };
        let most = self.memberships.to_string();
        let arguments = [if member { "SADD" } else { "SREM" }, topic.as_str(), &most];
        let (changed, _) = self.control(user, &self.keys.members(user), &message, &arguments).await?;
        Ok(changed > 0)
    }

    pub(crate) async fn disconnect(&self, user: &Topic) -> Result<u32, Error> {
        let (key, ttl) = (self.keys.disconnects(user), COUNT_TTL_MS.to_string());
        let (_, nodes) = self.control(user, &key, &Message::Disconnect, &["COUNT", &ttl]).await?;
        Ok(u32::try_from(nodes).unwrap_or(u32::MAX))
    }

    pub(crate) async fn disconnects(&self, users: &[Topic]) -> Result<Vec<u64>, Error> {
        let mut counts = Vec::with_capacity(users.len());
        for chunk in users.chunks(1000) {
            let get = |user| {
                let mut command = redis::cmd("GET");
                command.arg(self.keys.disconnects(user));
                command
            };
            for answer in self.run(chunk.iter().map(get)).await? {
                counts.push(match answer {
                    Value::Nil => 0,
                    Value::BulkString(text) => String::from_utf8_lossy(&text)
                        .parse()
                        .map_err(|_| unexpected("a count of disconnects is no number"))?,
                    other => return Err(scripts::failure(&other, "a count")),
                });
            }
        }
        Ok(counts)
    }

    /// The place of `topic`'s partition, if the script that tells about it runs in another one: it can't look there itself.
    async fn place_of(&self, topic: &Topic, user: &Topic) -> Result<Cursor, Error> {
        let partition = self.keys.partition(topic);
        if partition == self.keys.partition(user) {
            return Ok(Cursor::default());
        }
        let answer = self.run_in(partition, |epoch| scripts::head(&self.keys, partition, epoch)).await?;
        Ok(Cursor::single(partition, scripts::position(&answer)?))
    }

    /// Changes a key and says `message` to the nodes that have `topic`. Gives the change and the count of nodes.
    pub(crate) async fn control(
        &self,
        topic: &Topic,
        key: &str,
        message: &Message,
        arguments: &[&str],
    ) -> Result<(u64, u64), Error> {
        let (partition, message, channel) =
            (self.keys.partition(topic), message.encode(), self.keys.channel(topic));
        let call = |epoch| {
            let mut call = eval(&scripts::CONTROL, &self.keys, partition, epoch, &[key.into()]);
            call.arg(message.as_slice()).arg(&channel).arg(arguments);
            call
        };
        let answer = self.run_in(partition, call).await?;
        match &answer {
            Value::Array(parts) if parts.first() == Some(&Value::Int(-1)) => {
                Err(Error::Memberships(self.memberships))
            }
            Value::Array(parts) if parts.len() == 4 => {
                let epoch = scripts::epoch_of(&parts[2])?;
                let name = Position { epoch, offset: scripts::offset_of(&parts[3])? };
                self.partitions[partition.index()].keep(name, false)?;
                Ok((scripts::offset_of(&parts[0])?, scripts::offset_of(&parts[1])?))
            }
            other => Err(scripts::failure(other, "a change and a count of nodes")),
        }
    }
}
