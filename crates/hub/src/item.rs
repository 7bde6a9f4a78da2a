use std::sync::Arc;

use tidegate_protocol::{Cursor, Event, sse};

/// An event with its bytes: encoded once a node, shared by every ring and outbox.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) event: Arc<Event>,
    pub(crate) frame: sse::Frame,
}

impl Item {
    pub(crate) fn new(event: Arc<Event>) -> Self {
        let mark = &event.mark;
        let id = mark.stored().then(|| Cursor::single(mark.partition, mark.position()));
        let name = event.name.as_ref().map(tidegate_protocol::EventName::as_str);
        let frame = sse::frame(id.as_ref(), name, Some(event.data.as_bytes()));
        Self { event, frame }
    }

    /// What it costs a ring.
    pub(crate) fn weight(&self) -> usize {
        256 + 2 * self.event.data.as_bytes().len()
    }

    /// Puts events of several topics into the one order that every connection keeps.
    pub(crate) fn sort(items: &mut Vec<Self>) {
        let key = |item: &Self| {
            let mark = &item.event.mark;
            (mark.partition, mark.offset, !mark.stored())
        };
        items.sort_by_key(key);
        items.dedup_by(|b, a| a.event.mark.stored() && key(a) == key(b));
    }
}
