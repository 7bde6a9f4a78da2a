use bytes::Bytes;

use crate::json;

/// An event's payload. Both forms hold valid UTF-8 and are shared, never copied, when cloned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A JSON string: sent over SSE as the string itself.
    Text(Bytes),
    /// Any other JSON value: sent as its compact JSON text, numbers and key order as the publisher wrote them.
    Json(Bytes),
}

impl Data {
    /// Takes one JSON value as text, such as `"hi"` or `{ "a": 1 }`.
    pub fn from_json(json: &str) -> Result<Self, DataError> {
        let json = json.trim();
        if json.starts_with('"') {
            let text: String = serde_json::from_str(json).map_err(DataError)?;
            Ok(Self::Text(text.into()))
        } else {
            serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(DataError)?;
            Ok(Self::Json(compact(json).into()))
        }
    }

    /// The bytes that go out as SSE data.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) | Self::Json(bytes) => bytes,
        }
    }

    /// Appends the JSON value again, for the formats whose frames are JSON.
    pub fn push_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(bytes) => json::push_text(&String::from_utf8_lossy(bytes), out),
            Self::Json(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// The text given is not one JSON value.
#[derive(Debug, thiserror::Error)]
#[error("data must be one JSON value: {0}")]
pub struct DataError(#[source] serde_json::Error);

/// Drops white space outside strings of valid JSON. What is left is the publisher's own text: no number is rounded, no key moves.
fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for &byte in json.as_bytes() {
        if inside {
            out.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => inside = false,
                _ => {}
            }
        } else if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            inside = byte == b'"';
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_compacted_and_otherwise_untouched() {
        let data = Data::from_json("{ \"b\" : 1.0,\n\"a\\\" \": [ 12345678901234567890123, \" x \" ] }")
            .expect("valid");
        assert_eq!(data.as_bytes(), br#"{"b":1.0,"a\" ":[12345678901234567890123," x "]}"#);
    }

    #[test]
    fn a_string_is_sent_as_itself() {
        let data = Data::from_json(r#" "a\nb\u00e9" "#).expect("valid");
        assert_eq!(data, Data::Text("a\nbé".into()));
        let mut json = Vec::new();
        data.push_json(&mut json);
        assert_eq!(json, "\"a\\nbé\"".as_bytes());
    }

    #[test]
    fn bad_json_is_refused() {
        for bad in ["", "{", "{} {}", "\"a", "nul", "\"\\ud800\""] {
            assert!(Data::from_json(bad).is_err(), "{bad:?}");
        }
    }
}
