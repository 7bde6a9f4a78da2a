use std::pin::Pin;

use bytes::Bytes;
use tidegate_hub::SubscriberHandle;
use tidegate_protocol::Topic;

/// What a route makes of the messages of one client. The session reads and paces them, and sends
/// the answers.
pub trait Messages: Send {
    /// Answers one text message. `subscription` is the stream that its client has.
    fn answer(&mut self, text: &str, subscription: &SubscriberHandle) -> Reply;

    /// Makes the hub's confirmation of the latest [`Reply::Subscribe`] or [`Reply::Unsubscribe`]
    /// the client's answer.
    fn confirm(&mut self, confirmation: Bytes) -> Bytes;

    /// The answer to a message that came too fast and was not read. `rate`: how many a second may.
    fn too_fast(&mut self, rate: u32) -> Bytes;
}

/// How a message is answered. Each answer is one text message.
pub enum Reply {
    /// With this.
    Answer(Bytes),
    /// With what this gives. Nothing more is read until then; dropped when the client leaves.
    Later(Pin<Box<dyn Future<Output = Bytes> + Send>>),
    /// The stream receives these topics as well. The hub's confirmation is the answer.
    Subscribe(Vec<Topic>),
    /// The stream receives these topics no longer. The hub's confirmation is the answer.
    Unsubscribe(Vec<Topic>),
}
