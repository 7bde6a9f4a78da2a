use std::sync::{Arc, OnceLock};

use tidegate_protocol::{Epoch, Event, Format, Frame, Mark, Position, Topic};

/// An event with its bytes: encoded once a node and format, shared by recent events and outboxes.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) event: Arc<Event>,
    frames: Arc<Frames>,
}

/// Encoded when the first connection of a format needs it: a node without WebSockets writes no
/// JSON.
#[derive(Default)]
struct Frames {
    sse: OnceLock<Frame>,
    json: OnceLock<Frame>,
}

impl Item {
    pub(crate) fn new(event: Arc<Event>) -> Self {
        Self { event, frames: Arc::default() }
    }

    pub(crate) fn frame(&self, format: Format) -> &Frame {
        let frame = match format {
            Format::Sse => &self.frames.sse,
            Format::Json => &self.frames.json,
        };
        frame.get_or_init(|| format.frame(&self.event))
    }

    /// What it costs among a topic's recent events.
    pub(crate) fn weight(&self) -> usize {
        320 + 2 * self.event.data.as_bytes().len()
    }

    /// The same event by its name in a later epoch.
    pub(crate) fn in_epoch(&self, epoch: Epoch) -> Self {
        let Event { topic, name, data, at, mark } = &*self.event;
        let (topic, name, data) = (topic.clone(), name.clone(), data.clone());
        Self::new(Arc::new(Event { topic, name, data, at: *at, mark: Mark { epoch, ..*mark } }))
    }

    /// Whether it was stored in the topic before that position.
    pub(crate) fn precedes(&self, (topic, begin): &(Topic, Position)) -> bool {
        let mark = &self.event.mark;
        mark.stored()
            && mark.epoch == begin.epoch
            && mark.offset <= begin.offset
            && self.event.topic == *topic
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
