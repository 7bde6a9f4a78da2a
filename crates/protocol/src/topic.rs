use std::fmt;
use std::sync::Arc;

/// The longest topic, in bytes of UTF-8.
pub const MAX_TOPIC_BYTES: usize = 255;

/// The most partitions a deployment may have: a cursor names every one of them in at most 128 bytes.
pub const MAX_PARTITIONS: u8 = 8;

/// A validated topic name: 1–255 bytes of UTF-8 without control characters or white space.
///
/// `:` separates segments and the first segment is the namespace. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Parses a topic; the error says which rule was broken.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > MAX_TOPIC_BYTES {
            return Err(TopicError::TooLong(text.len()));
        }
        match text.chars().find(|c| c.is_control() || c.is_whitespace() || *c == '\u{feff}') {
            Some(c) => Err(TopicError::Forbidden(c)),
            None => Ok(Self(text.into())),
        }
    }

    /// The topic that belongs to one user: `user:{id}`.
    pub fn user(id: &str) -> Result<Self, TopicError> {
        if id.is_empty() {
            return Err(TopicError::Empty);
        }
        Self::parse(&format!("user:{id}"))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment, whose settings apply to the topic.
    pub fn namespace(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// The user whose own topic this is, if it is one.
    pub fn owner(&self) -> Option<&str> {
        self.0.strip_prefix("user:").filter(|id| !id.is_empty())
    }

    /// Names starting with `$` are the gateway's: no client may subscribe or publish there.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The partition that numbers this topic's events, among `partitions` (at least 1).
    ///
    /// FNV-1a, 64 bit: part of the storage layout, so it never changes.
    pub fn partition(&self, partitions: u8) -> Partition {
        let hash = self
            .0
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let count = u64::from(partitions.clamp(1, MAX_PARTITIONS));
        Partition(u8::try_from(hash % count).unwrap_or_default())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl serde::Serialize for Topic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Which of the counters numbers a topic's events: `0..MAX_PARTITIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub(crate) u8);

impl Partition {
    /// A partition by its number; `None` from [`MAX_PARTITIONS`] on.
    pub fn new(number: u8) -> Option<Self> {
        (number < MAX_PARTITIONS).then_some(Self(number))
    }

    /// Its number, fit to index a small array.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// No bytes at all.
    #[error("a topic must not be empty")]
    Empty,
    /// More than [`MAX_TOPIC_BYTES`].
    #[error("a topic has at most {MAX_TOPIC_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// White space or a control character.
    #[error("a topic must not contain white space or control characters, this one has {0:?}")]
    Forbidden(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        assert_eq!(Topic::parse(""), Err(TopicError::Empty));
        assert_eq!(Topic::parse("a b"), Err(TopicError::Forbidden(' ')));
        assert_eq!(Topic::parse("a\nb"), Err(TopicError::Forbidden('\n')));
        assert_eq!(Topic::parse("a\u{2028}b"), Err(TopicError::Forbidden('\u{2028}')));
        assert_eq!(Topic::parse(&"x".repeat(256)), Err(TopicError::TooLong(256)));
        let topic = Topic::parse("room:방:1").expect("valid");
        assert_eq!(topic.namespace(), "room");
        assert_eq!(Topic::user("alice").expect("valid").owner(), Some("alice"));
        assert!(Topic::parse("$probe:x").expect("valid").is_reserved());
    }

    #[test]
    fn partitions_are_stable() {
        let topic = Topic::parse("room:1").expect("valid");
        assert_eq!(topic.partition(1).index(), 0);
        // Fixed for ever: stored events would be looked for in the wrong place otherwise.
        let spread: Vec<usize> =
            (0..8).map(|n| Topic::parse(&format!("room:{n}")).expect("valid").partition(8).index()).collect();
        assert_eq!(spread, [0, 3, 6, 1, 4, 7, 2, 5]);
    }
}
