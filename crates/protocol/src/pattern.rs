use std::fmt;
use std::sync::Arc;

use crate::topic::MAX_TOPIC_BYTES;

/// A grant over topics: segments separated by `:`, where `*` stands for any text within one segment (it may be a part of the segment:
/// `room:a*`) and a segment `**` stands for any number of segments, also none.
///
/// Neither matches a reserved (`$…`) topic: what is the gateway's can't be granted.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Parses a pattern; the error says which rule was broken.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_TOPIC_BYTES {
            return Err(PatternError::TooLong(text.len()));
        }
        if let Some(c) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(PatternError::Forbidden(c));
        }
        if text.split(':').any(|segment| segment.contains("**") && segment != "**") {
            return Err(PatternError::DoubleStar);
        }
        Ok(Self(text.into()))
    }

    /// Whether the pattern covers `topic`. Takes time linear in both for each star.
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') {
            return false;
        }
        let pattern: Vec<&str> = self.0.split(':').collect();
        let topic: Vec<&str> = topic.split(':').collect();
        glob(&pattern, &topic, |p| *p == "**", |p, t| segment(p, t))
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn segment(pattern: &str, text: &str) -> bool {
    glob(pattern.as_bytes(), text.as_bytes(), |p| *p == b'*', |p, t| p == t)
}

/// Greedy matching with one point to fall back to: no exponential blow-up on hostile patterns.
fn glob<P, T>(pattern: &[P], text: &[T], star: impl Fn(&P) -> bool, same: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(item) if star(item) => {
                back = Some((p, t));
                p += 1;
            }
            Some(item) if same(item, &text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((at, from)) => {
                    back = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(star)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No bytes at all.
    #[error("a pattern must not be empty")]
    Empty,
    /// Longer than any topic could be.
    #[error("a pattern has at most {MAX_TOPIC_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// White space or a control character.
    #[error("a pattern must not contain white space or control characters, this one has {0:?}")]
    Forbidden(char),
    /// `**` inside a longer segment.
    #[error("`**` must be a segment of its own, as in `room:**`")]
    DoubleStar,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::parse(pattern).expect("a valid pattern").matches(topic)
    }

    #[test]
    fn one_star_stays_in_its_segment() {
        assert!(matches("room:*", "room:1"));
        assert!(!matches("room:*", "room:1:typing"));
        assert!(!matches("room:*", "room"));
        assert!(matches("room:a*z", "room:abcz"));
        assert!(!matches("room:a*z", "room:abcy"));
        assert!(matches("*", "news"));
        assert!(!matches("*", "news:1"));
    }

    #[test]
    fn two_stars_span_segments() {
        assert!(matches("**", "a:b:c"));
        assert!(matches("room:**", "room:1:typing"));
        assert!(matches("room:**", "room"));
        assert!(matches("a:**:z", "a:z"));
        assert!(matches("a:**:z", "a:b:z:z"));
        assert!(!matches("a:**:z", "a:b"));
    }

    #[test]
    fn reserved_topics_are_never_granted() {
        assert!(!matches("**", "$probe:n1"));
        assert!(!matches("*", "$x"));
    }

    #[test]
    fn refusals() {
        assert_eq!(Pattern::parse("a**"), Err(PatternError::DoubleStar));
        assert_eq!(Pattern::parse("a b"), Err(PatternError::Forbidden(' ')));
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
    }

    #[test]
    fn hostile_patterns_stay_cheap() {
        let pattern = format!("{}c", "a*".repeat(100));
        assert!(!matches(&pattern, &format!("{}b", "a".repeat(250))));
    }
}
