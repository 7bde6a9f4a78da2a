//! Properties of everything that crosses the wire, with a third-party SSE parser as the oracle.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use futures_util::StreamExt;
use proptest::prelude::*;
use sse_stream::SseStream;
use tidegate_protocol::{
    Cursor, Data, Envelope, Epoch, Event, EventName, Format, MAX_CURSOR_BYTES, MAX_OFFSET, Mark, Message,
    Partition, Pattern, Position, Topic, sse,
};

/// What a conforming client sees of `bytes`: id, event, data of each block.
fn parse(bytes: &[u8]) -> Vec<(Option<String>, Option<String>, Option<String>)> {
    let chunks = futures_util::stream::iter(bytes.chunks(7).map(Bytes::copy_from_slice).collect::<Vec<_>>())
        .map(Ok::<_, std::convert::Infallible>);
    let events = SseStream::from_bytes_stream(chunks).map(|event| {
        let event = event.expect("a block that parses");
        (event.id, event.event, event.data)
    });
    futures_executor_block_on(events.collect())
}

fn futures_executor_block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn normal(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), 0..=MAX_OFFSET)
        .prop_map(|(bits, offset)| Position { epoch: Epoch::from_random(bits), offset })
}

fn cursor() -> impl Strategy<Value = Cursor> {
    prop_oneof![
        position().prop_map(|position| Cursor::single(Partition::new(0).unwrap(), position)),
        proptest::collection::btree_map(0..8u8, (any::<u64>(), 0..36u64.pow(8)), 1..=8).prop_map(|parts| {
            let mut cursor = Cursor::default();
            for (partition, (bits, offset)) in parts {
                let position = Position { epoch: Epoch::from_random(bits), offset };
                cursor.set(Partition::new(partition).unwrap(), position);
            }
            cursor
        }),
    ]
}

proptest! {
    #[test]
    fn data_survives_a_foreign_parser(data in "(\\PC|[\\r\\n\u{2028}\u{85}\u{feff}: ]){0,200}", named in any::<bool>()) {
        let name = named.then_some("chat");
        let cursor = Cursor::single(Partition::new(0).unwrap(), Position { epoch: Epoch::from_random(7), offset: 42 });
        let frame = sse::frame(Some(&cursor), name, Some(data.as_bytes()));
        let seen = parse(&frame.whole());
        prop_assert_eq!(seen.len(), 1);
        prop_assert_eq!(seen[0].0.clone(), Some(cursor.to_string()));
        prop_assert_eq!(seen[0].1.as_deref(), name);
        prop_assert_eq!(seen[0].2.clone().unwrap_or_default(), normal(&data));
        let rest = parse(&frame.rest());
        prop_assert_eq!(&rest[0].0, &None);
        prop_assert!(!frame.whole().contains(&b'\r'));
    }

    #[test]
    fn cursors_come_back_as_they_were(cursor in cursor()) {
        let text = cursor.to_string();
        prop_assert!(text.len() <= MAX_CURSOR_BYTES, "{} bytes", text.len());
        prop_assert!(text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || b"._-".contains(&b)));
        prop_assert_eq!(Cursor::parse(&text), Ok(cursor));
    }

    #[test]
    fn only_canonical_cursors_parse(text in "[0-9a-z._-]{0,140}|\\PC{0,40}|[0-7][0-9a-z]{5}-[0-9a-z]{1,14}") {
        if let Ok(cursor) = Cursor::parse(&text) {
            prop_assert_eq!(cursor.to_string(), text);
        }
    }

    #[test]
    fn events_are_json_objects_with_or_without_their_id(
        cursor in cursor(), stored in any::<bool>(), at in 0..1u64 << 53, topic in "[^\\s\\pC]{1,60}",
        name in proptest::option::of("[a-zA-Z][a-z \":_-]{0,20}"), text in "(\\PC|[\\r\\n\\t\"\\\\]){0,100}", value in any::<i64>(), json in any::<bool>(),
    ) {
        let value = serde_json::json!({ "n": value, "text": text });
        let data = if json { Data::Json(value.to_string().into()) } else { Data::Text(text.clone().into()) };
        let position = cursor.iter().next().unwrap().1;
        let partition = cursor.iter().next().unwrap().0;
        let mark = Mark { partition, epoch: position.epoch, offset: position.offset, prev: stored.then_some(0) };
        let event = Event {
            topic: Topic::parse(&topic).unwrap(), name: name.as_deref().map(|n| EventName::parse(n).unwrap()), data, at, mark,
        };
        let frame = Format::Json.frame(&event);
        let own = stored.then(|| Cursor::single(partition, position).to_string());
        let expected = |id: Option<String>| serde_json::json!({
            "id": id, "topic": topic, "event": name, "data": if json { value.clone() } else { text.clone().into() }, "at": at,
        });
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&frame.whole()).unwrap(), expected(own));
        let mut other = Vec::new();
        Format::Json.id(Some(&cursor), &mut other);
        other.extend_from_slice(&frame.rest());
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&other).unwrap(), expected(Some(cursor.to_string())));
    }

    #[test]
    fn envelopes_come_back_as_they_were(
        position in position(), prev in proptest::option::of(0..=MAX_OFFSET), at in any::<u64>(),
        name in proptest::option::of("[a-zA-Z][a-z :_-]{0,20}"), text in "(\\PC|[\\r\\n]){0,100}", json in any::<bool>(),
    ) {
        let data = if json { Data::Json(text.into()) } else { Data::Text(text.into()) };
        let message = Message::Event { name: name.map(|name| EventName::parse(&name).unwrap()), data, at };
        let bytes = Bytes::from(Envelope::encode(position, prev, &message.encode()));
        prop_assert_eq!(Envelope::parse(&bytes), Ok(Envelope { position, prev, message }));
    }

    #[test]
    fn control_messages_come_back_as_they_were(cursor in cursor(), topic in "[^\\s\\pC]{1,60}", nonce in any::<u64>()) {
        let topic = Topic::parse(&topic).unwrap();
        let position = Position { epoch: Epoch::from_random(nonce), offset: 1 };
        for message in [
            Message::Joined { topic: topic.clone(), from: cursor.clone() },
            Message::Joined { topic: topic.clone(), from: Cursor::default() },
            Message::Left { topic: topic.clone() },
            Message::Disconnect,
            Message::Forgotten,
            Message::Probe { nonce },
        ] {
            let bytes = Bytes::from(Envelope::encode(position, None, &message.encode()));
            prop_assert_eq!(Envelope::parse(&bytes).unwrap().message, message);
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,300}") {
        let _ = Envelope::parse(&Bytes::from(bytes.clone()));
        let mut headed = b"1 k3x9a 4711 4702\n".to_vec();
        headed.extend_from_slice(&bytes);
        let _ = Envelope::parse(&headed.into());
        let _ = Cursor::parse(&String::from_utf8_lossy(&bytes));
        let _ = Topic::parse(&text);
        let _ = EventName::parse(&text);
        let _ = Data::from_json(&text);
        if let Ok(pattern) = Pattern::parse(&text) {
            let _ = pattern.matches(&String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn huge_and_empty_data() {
    let huge = "x".repeat(8 << 20);
    assert_eq!(parse(&sse::frame(None, None, Some(huge.as_bytes())).whole())[0].2.as_deref(), Some(&*huge));
    assert_eq!(&sse::frame(None, None, Some(b"")).whole()[..], b"data: \n\n");
    assert_eq!(
        &sse::frame(None, Some("n"), Some(b"a\r\nb\rc\n")).whole()[..],
        b"event: n\ndata: a\ndata: b\ndata: c\ndata: \n\n"
    );
}

#[test]
fn the_longest_cursor_fits() {
    let mut cursor = Cursor::default();
    for n in 0..8 {
        let position = Position { epoch: Epoch::from_random(u64::from(n)), offset: 36u64.pow(8) - 1 };
        cursor.set(Partition::new(n).unwrap(), position);
    }
    assert_eq!(cursor.to_string().len(), 127);
}
