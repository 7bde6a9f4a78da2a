use serde::{Deserialize, Serialize};

/// Text with places for the topic and the data: `/sub/{topic}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Piece {
    Text(String),
    Topic,
    Data,
}

impl Template {
    /// Cut up once: it is filled in for every event.
    pub(crate) fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let marks = [("{topic}", Piece::Topic), ("{data}", Piece::Data)];
            let first = marks.into_iter().filter_map(|(mark, piece)| Some((rest.find(mark)?, mark, piece)));
            let Some((at, mark, piece)) = first.min_by_key(|(at, ..)| *at) else {
                pieces.push(Piece::Text(rest.to_owned()));
                break;
            };
            if at > 0 {
                pieces.push(Piece::Text(rest[..at].to_owned()));
            }
            pieces.push(piece);
            rest = &rest[at + mark.len()..];
        }
        Self(pieces)
    }

    pub(crate) fn write(&self, topic: &str, data: &str, text: &mut String) {
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Text(words) => words,
                Piece::Topic => topic,
                Piece::Data => data,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in_and_other_braces_left_alone() {
        for (template, expected) in [
            ("/sub/{topic}", "/sub/T"),
            (r#"{"c":"{topic}","d":"{data}"}"#, r#"{"c":"T","d":"D"}"#),
            ("{data}{topic}{data}", "DTD"),
            ("", ""),
        ] {
            let mut text = String::new();
            Template::new(template).write("T", "D", &mut text);
            assert_eq!(text, expected);
        }
    }
}
