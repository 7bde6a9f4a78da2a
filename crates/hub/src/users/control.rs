use std::collections::HashSet;
use std::sync::Arc;

use tidegate_broker::Control;
use tidegate_protocol::Topic;

use super::{Streams, Users};
use crate::change::Change;
use crate::close_reason::CloseReason;
use crate::join::Scope;

impl<S> Users<S> {
    /// Hands a control message on to the user's streams. Called from the dispatch loop, in the
    /// order of the partition.
    pub(crate) fn control<A>(&self, own_topic: &Topic, control: &Control, streams: &Arc<A>)
    where
        A: Streams<Stream = S>,
    {
        let Some(user) = self.users.get(own_topic).map(|user| Arc::clone(&user)) else { return };
        let change = match control.clone() {
            Control::Joined { topic, from } => Change::Joined(vec![(topic, from)]),
            Control::Left { topic } => Change::Left(HashSet::from([topic])),
            Control::Disconnect => {
                user.disconnected();
                for stream in user.streams() {
                    streams.close(&stream, CloseReason::Disconnected);
                }
                return;
            }
        };
        let mut changes = user.changes();
        *changes += 1;
        for stream in user.streams() {
            match (A::scope(&stream), &change) {
                (Scope::Own, _) => streams.change(&stream, change.clone()),
                (Scope::Membership, Change::Left(left))
                    if A::topics(&stream).iter().any(|(topic, _)| left.contains(topic)) =>
                {
                    streams.close(&stream, CloseReason::Disconnected);
                }
                _ => {}
            }
        }
    }
}
