//! Frames, read as a session reads them. The fuzz targets have no other way to these functions.
#![allow(missing_docs)]

/// See [`crate::websocket::hear`].
pub fn websocket(input: &[u8], step: usize, limit: usize) -> (Vec<String>, String, Vec<u8>) {
    crate::websocket::hear(input, step, limit)
}
