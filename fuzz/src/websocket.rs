//! What a WebSocket's client sends: frames, and the messages in them. The first byte says in what pieces they come.

/// Bytes of a message.
const MOST: usize = 4_096;

pub fn run(input: &[u8]) {
    let Some((step, frames)) = input.split_first() else { return };
    let whole = tidegate_transport::fuzzing::websocket(frames, frames.len(), MOST);
    let pieces = tidegate_transport::fuzzing::websocket(frames, usize::from(*step), MOST);
    assert_eq!(whole, pieces);
    for text in &whole.0 {
        assert!(text.len() <= MOST);
        if let Some(problem) = tidegate_server::fuzzing::message(text) {
            assert_eq!(problem.status(), 400, "{problem:?}");
        }
    }
    // Also what no frame was made of: the bytes as a message.
    if let Ok(text) = std::str::from_utf8(frames)
        && let Some(problem) = tidegate_server::fuzzing::message(text)
    {
        assert_eq!(problem.status(), 400, "{problem:?}");
    }
}
