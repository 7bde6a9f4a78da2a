//! What comes from other nodes and out of stored streams.

use bytes::Bytes;
use tidegate_protocol::{Envelope, MAX_OFFSET};

pub fn run(input: &[u8]) {
    let Ok(envelope) = Envelope::parse(&Bytes::copy_from_slice(input)) else { return };
    assert!(envelope.position.offset <= MAX_OFFSET);
    let again = Envelope::encode(envelope.position, envelope.prev, &envelope.message.encode());
    assert_eq!(Envelope::parse(&again.into()), Ok(envelope));
}
