//! The body of a publish: JSON, arrays and NDJSON. The first line is its content type.

use http::{HeaderMap, HeaderValue, header};
use tidegate_protocol::Data;

pub fn run(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (kind, body) = input.split_at(at);
    let mut headers = HeaderMap::new();
    if let Ok(kind) = HeaderValue::from_bytes(kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    match tidegate_server::fuzzing::events(&headers, body) {
        Ok(events) => {
            for (topics, data) in events {
                assert!(!topics.is_empty());
                let _ = Data::from_json(&data);
            }
        }
        Err(problem) => assert!(problem.status().is_client_error(), "{problem:?}"),
    }
}
