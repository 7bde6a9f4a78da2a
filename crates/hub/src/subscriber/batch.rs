use tidegate_protocol::{Cursor, Format};

use super::outbox::Entry;
use super::state::State;
use crate::close_reason::CloseReason;
use crate::control_events::{self, ControlEvent};
use crate::item::Item;
use crate::options::Options;

/// Queues what a stream goes live with, under the subscriber's lock.
pub(crate) struct InitialBatch<'a> {
    state: &'a mut State,
}

impl<'a> InitialBatch<'a> {
    pub(super) fn new(state: &'a mut State) -> Self {
        Self { state }
    }

    /// Where the stream stands.
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.state.cursor
    }

    /// Sets where the stream stands.
    pub(crate) fn begin_at(&mut self, cursor: Cursor) {
        self.state.cursor = cursor;
    }

    /// How the stream's events look.
    pub(crate) fn format(&self) -> Format {
        self.state.format
    }

    /// Queues a control event.
    pub(crate) fn control(&mut self, event: ControlEvent, bytes: Vec<u8>) {
        self.state.push_control(event, bytes);
    }

    /// Queues an event unless it is a repeat.
    pub(crate) fn item(&mut self, item: &Item, options: &Options) {
        let fits = self.state.push_item(item, false, options);
        debug_assert!(fits, "what is not counted always fits");
    }

    /// Queues an event whatever its position, without an id: the client's cursor stays where it is.
    pub(crate) fn late_item(&mut self, item: &Item) {
        let frame = item.frame(self.state.format);
        let bytes = match self.state.format {
            Format::Sse => frame.rest(),
            Format::Json => self.state.with_id(None, frame),
        };
        let late = Entry { bytes, events: 1, at: 0, counted: false, control: None };
        let fits = self.state.outbox.push(late, 0, 0);
        debug_assert!(fits, "what is not counted always fits");
    }

    /// Ends the stream behind what was queued.
    pub(crate) fn close(&mut self, reason: CloseReason, options: &Options) {
        let goodbye =
            control_events::closing(self.state.format, reason.retry(options.retry), reason.as_str());
        self.state.waker = self.state.close(reason, goodbye);
    }
}
