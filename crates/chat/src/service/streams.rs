//! What a stream of a room and a user's own stream are made of.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_hub::{Join, Resume};
use tidegate_protocol::{Cursor, Format};
use tidegate_server::{Caller, Problem};

use super::Chat;
use crate::topics;

impl Chat {
    /// A stream of one room, for who takes part in it.
    ///
    /// It belongs to a name that stands for the user in this room: it carries nothing else of the user's, and can be ended
    /// when the user has to go.
    pub(crate) async fn room_stream(
        &self,
        caller: &Caller,
        room: &str,
        resume: Resume,
        format: Format,
    ) -> Result<Join, Problem> {
        let user = self.admit(caller, room).await?.user;
        let topic = topics::room(room)?;
        let resume = match resume {
            Resume::After(id) => Resume::After(self.cursor(room, &topic, id).await?),
            other => other,
        };
        Ok(Join {
            user: user.map(|user| topics::seat(room, user)).transpose()?,
            topics: vec![topic],
            resume,
            expires: caller.expires(),
            format,
            manner: Some(Arc::clone(&self.room_manner)),
        })
    }

    /// A user's own stream: news, and the messages of all rooms.
    pub(crate) async fn user_stream(&self, caller: &Caller, resume: Resume) -> Result<Join, Problem> {
        let user = self.meet(caller).await?;
        let rooms = self.store.rooms_of(user).await?;
        self.mend(user, rooms.iter().map(String::as_str).collect()).await?;
        Ok(Join {
            user: Some(topics::user("userId", user)?),
            topics: Vec::new(),
            resume,
            expires: caller.expires(),
            format: Format::Sse,
            manner: Some(Arc::clone(&self.user_manner)),
        })
    }

    /// A message's id as the place of its event. What is no message's id, or of none that is known, is for the hub to judge.
    async fn cursor(
        &self,
        room: &str,
        topic: &tidegate_protocol::Topic,
        id: String,
    ) -> Result<String, Problem> {
        if crate::model::moment(&id).is_none() {
            return Ok(id);
        }
        let partition = topic.partition(self.broker().partitions());
        let place = self.place(room, topic, &id).await?;
        Ok(place.map_or(id, |place| Cursor::single(partition, place).to_string()))
    }

    /// Makes the broker's memberships those of the store, where somebody died between the two.
    pub(super) async fn mend(&self, user: &str, wanted: HashSet<&str>) -> Result<(), Problem> {
        let own = topics::user("userId", user)?;
        let held = self.broker().memberships(&own).await?;
        let held: HashSet<&str> = held.iter().filter_map(topics::room_of).collect();
        for room in held.symmetric_difference(&wanted) {
            tracing::info!(room, "a membership was not as the store has it: mended");
            self.settle(room, &topics::room(room)?, user).await?;
        }
        Ok(())
    }
}
