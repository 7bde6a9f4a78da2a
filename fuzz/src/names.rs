//! Topics, patterns, event names and cursors.

use tidegate_protocol::{Cursor, EventName, MAX_CURSOR_BYTES, Pattern, Topic};

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (text, other) = text.split_once('\n').unwrap_or((text, "room:1"));
    if let Ok(topic) = Topic::parse(text) {
        assert_eq!(topic.as_str(), text);
        assert!(text.starts_with(topic.namespace()));
        assert!(topic.partition(8).index() < 8);
        // A grant of everything grants all but the gateway's own; a topic without stars grants itself.
        let everything = Pattern::parse("**").unwrap();
        assert_eq!(everything.matches(text), !topic.is_reserved());
        if let (false, Ok(itself)) = (topic.is_reserved(), Pattern::parse(text)) {
            assert!(itself.matches(text), "{text:?}");
        }
    }
    if let Ok(pattern) = Pattern::parse(text) {
        assert!(!pattern.matches("$probe:x"));
        let matches = pattern.matches(other);
        assert!(matches || text != other || text.starts_with('$'));
        assert_eq!(matches, slow(text, other), "{text:?} and {other:?}");
    }
    if let Ok(name) = EventName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(['\n', '\r']) && !text.starts_with("tidegate:"));
    }
    if let Ok(cursor) = Cursor::parse(text) {
        assert_eq!(cursor.to_string(), text);
        assert!(text.len() <= MAX_CURSOR_BYTES && !cursor.is_empty());
    }
}

/// What a pattern means, word by word of its definition. Takes for ever with many stars, so it is asked about short ones only.
fn slow(pattern: &str, topic: &str) -> bool {
    fn segments(pattern: &[&str], topic: &[&str]) -> bool {
        match pattern.split_first() {
            None => topic.is_empty(),
            Some((&"**", rest)) => (0..=topic.len()).any(|n| segments(rest, &topic[n..])),
            Some((first, rest)) => topic.split_first().is_some_and(|(word, more)| {
                within(first.as_bytes(), word.as_bytes()) && segments(rest, more)
            }),
        }
    }
    fn within(pattern: &[u8], word: &[u8]) -> bool {
        match pattern.split_first() {
            None => word.is_empty(),
            Some((b'*', rest)) => (0..=word.len()).any(|n| within(rest, &word[n..])),
            Some((byte, rest)) => word.first() == Some(byte) && within(rest, &word[1..]),
        }
    }
    if pattern.matches('*').count() > 5 || topic.len() > 60 {
        return Pattern::parse(pattern).unwrap().matches(topic);
    }
    let (pattern, words): (Vec<&str>, Vec<&str>) = (pattern.split(':').collect(), topic.split(':').collect());
    !topic.starts_with('$') && segments(&pattern, &words)
}
