//! What a stream of a room and a user's own stream are made of.

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;
use tidegate_hub::Resume;
use tidegate_protocol::Cursor;
use tidegate_server::{Caller, Opening, Problem};

use super::Chat;
use crate::topics;

impl Chat {
    /// A stream of one room, for who takes part in it and for as long as they do, or for an
    /// administrator.
    pub(crate) async fn room_stream(
        &self,
        caller: &Caller,
        room: &str,
        resume: Resume,
    ) -> Result<Opening, Problem> {
        let user = self.admit(caller, room).await?.user;
        let topic = topics::room(room)?;
        let resume = match resume {
            Resume::After(id) => Resume::After(self.cursor(room, &topic, id).await?),
            other => other,
        };
        let opening = caller.opening(vec![topic]).resume(resume).overrides(Arc::clone(&self.room_overrides));
        Ok(if user.is_some() { opening.while_member() } else { opening })
    }

    /// A user's own stream: news, and the messages of all rooms.
    pub(crate) async fn user_stream(&self, caller: &Caller, resume: Resume) -> Result<Opening, Problem> {
        let user = self.meet(caller).await?;
        let rooms = self.store.rooms_of(user).await?;
        self.mend(user, rooms.iter().map(String::as_str).collect()).await?;
        Ok(caller.opening(Vec::new()).with_own().resume(resume).overrides(Arc::clone(&self.user_overrides)))
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
            match self.settle(room, &topics::room(room)?, user).await {
                // A stream without one room is better than none.
                Err(problem) if problem.status() == StatusCode::CONFLICT => {
                    tracing::warn!(room, "not on its participant's stream, who has too many memberships");
                }
                settled => settled?,
            }
        }
        Ok(())
    }
}
