use std::cell::OnceCell;

use bytes::{Bytes, BytesMut};
use tidegate_protocol::Format;

use crate::item::Item;

/// The whole frames of some events in one buffer, made when the first subscriber needs it.
#[derive(Default)]
pub(crate) struct SharedFrames(OnceCell<Bytes>);

impl SharedFrames {
    /// `items` are the same at each call.
    pub(super) fn of(&self, items: &[Item]) -> Bytes {
        let join = || match items {
            [item] => item.frame(Format::Sse).whole(),
            items => {
                let frames = || items.iter().map(|item| item.frame(Format::Sse).as_bytes());
                let mut joined = BytesMut::with_capacity(frames().map(<[u8]>::len).sum());
                frames().for_each(|frame| joined.extend_from_slice(frame));
                joined.freeze()
            }
        };
        self.0.get_or_init(join).clone()
    }
}
