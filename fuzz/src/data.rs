//! An event's data out of JSON text, held against serde_json.

use serde_json::Value;
use tidegate_protocol::Data;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(data) = Data::from_json(text) else {
        assert!(
            serde_json::from_str::<Box<serde_json::value::RawValue>>(text).is_err() || strange(text),
            "refused: {text:?}"
        );
        return;
    };
    assert!(std::str::from_utf8(data.as_bytes()).is_ok());
    let mut json = Vec::new();
    data.push_json(&mut json);
    let json = String::from_utf8(json).unwrap();
    if let (Ok(given), Ok(kept)) = (serde_json::from_str::<Value>(text), serde_json::from_str::<Value>(&json))
    {
        assert_eq!(given, kept);
    }
    match &data {
        Data::Text(text) => assert!(json.starts_with('"') && text.len() <= input.len()),
        // What came in without white space goes out as it came.
        Data::Json(kept) => {
            assert!(kept.len() <= input.len());
            assert_eq!(Data::from_json(&json).unwrap().as_bytes(), kept);
        }
    }
}

/// Strings with half a surrogate are JSON by its grammar, and no text.
fn strange(text: &str) -> bool {
    text.contains("\\u") || text.contains("\\U")
}
