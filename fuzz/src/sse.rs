//! Events as the gateway writes them, blocks and objects, read by somebody else's parsers: no data may become a field, or get lost.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use sse_stream::SseStream;
use tidegate_protocol::{Cursor, Data, Epoch, Event, EventName, Mark, Partition, Position, Topic, json, sse};

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (name, data) = text.split_once('\n').unwrap_or(("", text));
    let given = EventName::parse(name).ok();
    let name = given.as_ref().map(EventName::as_str);
    let position = Position { epoch: Epoch::from_random(7), offset: 42 };
    let cursor = Cursor::single(Partition::new(0).unwrap(), position);
    let frame = sse::frame(Some(&cursor), name, Some(data.as_bytes()));
    let bytes = frame.whole();
    assert!(!bytes.contains(&b'\r'));
    let chunks: Vec<Bytes> = bytes.chunks(1 + data.len() % 9).map(Bytes::copy_from_slice).collect();
    let chunks = stream::iter(chunks.into_iter().map(Ok::<_, std::convert::Infallible>));
    let blocks: Vec<_> = crate::at_once(SseStream::from_bytes_stream(chunks).collect());
    let [Ok(block)] = &blocks[..] else { panic!("{} blocks out of one", blocks.len()) };
    assert_eq!(block.id.as_deref(), Some(&*cursor.to_string()));
    assert_eq!(block.event.as_deref(), name);
    assert_eq!(block.data.clone().unwrap_or_default(), data.replace("\r\n", "\n").replace('\r', "\n"));

    let mark = Mark { partition: Partition::new(0).unwrap(), epoch: position.epoch, offset: 42, prev: None };
    let value: Option<Value> = serde_json::from_str(data).ok();
    let (kept, value) = match value {
        Some(value) => (Data::from_json(data).unwrap(), value),
        None => (Data::Text(data.to_owned().into()), data.into()),
    };
    let topic = Topic::parse("room:\"\u{e9}").unwrap();
    let event = Event { topic: topic.clone(), name: given.clone(), data: kept, at: 7, mark };
    let object: Value = serde_json::from_slice(&json::frame(Some(&cursor), &event).whole()).unwrap();
    assert_eq!(object["data"], value);
    assert_eq!(object["topic"], topic.as_str());
    assert_eq!(object["event"].as_str(), name);
    assert_eq!(object["id"], cursor.to_string());
}
