#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

/// Writes down what it is told.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) Vec<String>);

impl Listener for Notes {
    fn opened(&mut self) {
        self.0.push("opened".to_owned());
    }
    fn event(&mut self, data: &[u8]) {
        self.0.push(String::from_utf8_lossy(data).into_owned());
    }
    fn cursor(&mut self, id: &str) {
        self.0.push(format!("at {id}"));
    }
    fn retry(&mut self, millis: u64) {
        self.0.push(format!("retry {millis}"));
    }
    fn closing(&mut self, reason: &str) {
        self.0.push(format!("closing {reason}"));
    }
    fn reset(&mut self, data: &[u8]) {
        self.0.push(format!("reset {}", String::from_utf8_lossy(data)).trim_end().to_owned());
    }
}

/// What is heard when the bytes come in these parts.
fn heard(via: Via, greets: bool, parts: &[&[u8]]) -> Result<(Vec<String>, Turn), Fault> {
    let (mut ear, searches) = (Ear::new(via, greets), Searches::new());
    let (mut notes, mut rest, mut last) = (Notes::default(), Vec::new(), Turn::default());
    for part in parts {
        let fresh = rest.len();
        rest.extend_from_slice(part);
        last = ear.hear(&mut rest, fresh, &searches, &mut notes)?;
        rest = rest[last.rest.clone()].to_vec();
    }
    Ok((notes.0, last))
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// These blocks in chunks of so many bytes.
fn chunked(blocks: &str, size: usize) -> Vec<u8> {
    let mut all = STREAM.as_bytes().to_vec();
    for chunk in blocks.as_bytes().chunks(size) {
        all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
    }
    all
}

#[test]
fn a_stream_is_heard_however_it_is_cut_and_chunked() {
    let blocks = "retry: 2314\nid: e-1\nevent: tidegate:ready\ndata: {}\n\n:\n\nid: e-2\ndata: 0 0 1 x\n\n\
                  retry: 9\nevent: tidegate:closing\ndata: {\"reason\":\"drain\"}\n\n";
    for size in [1, 7, 1000] {
        let stream = chunked(blocks, size);
        for cut in 0..stream.len() {
            let (said, _) = heard(Via::Sse, true, &[&stream[..cut], &stream[cut..]]).unwrap();
            let at = |word: &str| said.iter().position(|said| said == word);
            for word in ["retry 2314", "opened", "0 0 1 x", "retry 9", "closing drain", "at e-2"] {
                assert!(at(word).is_some(), "{word}: {said:?}, cut at {cut}");
            }
            assert!(at("at e-1") < at("at e-2"), "{said:?}");
            assert_eq!(said.iter().filter(|said| *said == "0 0 1 x").count(), 1);
        }
    }
}

#[test]
fn a_block_that_is_cut_off_was_not_received() {
    let (said, turn) =
        heard(Via::Sse, true, &[chunked("id: e-1\ndata: 0 0 1 x\n\nid: e-2\ndata: 0 1 1 x\n", 9).as_slice()])
            .unwrap();
    assert_eq!(said, ["0 0 1 x", "at e-1"]);
    assert!(!turn.ended);
}

#[test]
fn a_server_that_does_not_greet_is_open_with_its_head() {
    let stream = b"HTTP/1.1 200 OK\r\n\r\nretry: 5\ndata: 1 2 3 x\n\n";
    let (said, _) = heard(Via::Sse, false, &[stream]).unwrap();
    assert_eq!(said, ["opened", "retry 5", "1 2 3 x"]);
}

#[test]
fn a_proxy_says_when_to_come_back_without_a_greeting() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nretry: 2500\n\n";
    let (said, turn) = heard(Via::Sse, true, &[answer]).unwrap();
    assert_eq!(said, ["retry 2500"]);
    assert!(turn.ended);
}

#[test]
fn a_reset_says_of_what() {
    let block = "id: f-1\nevent: tidegate:reset\ndata: {\"topics\":[\"t\"]}\n\n";
    let (said, _) = heard(Via::Sse, true, &[&chunked(block, 9)]).unwrap();
    assert_eq!(said[0], r#"reset {"topics":["t"]}"#);
}

#[test]
fn the_end_of_the_body_and_other_answers_are_told() {
    let mut stream = chunked("data: 1 2 3 x\n\n", 99);
    stream.extend_from_slice(b"0\r\n\r\n");
    assert!(heard(Via::Sse, true, &[&stream]).unwrap().1.ended);
    let refused = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}";
    for via in [Via::Sse, Via::Ws, Via::Poll] {
        assert_eq!(heard(via, true, &[refused]).err(), Some(Fault::Status(503)));
    }
}

#[test]
fn answers_to_polls_are_heard_whole_and_asked_for_again() {
    let body =
        r#"{"cursor":"e-3","events":[{"id":"e-3","topic":"t","event":null,"data":"0 1 2 xx"}],"reset":true}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes();
    for cut in 0..answer.len() {
        let (said, turn) = heard(Via::Poll, true, &[&answer[..cut], &answer[cut..]]).unwrap();
        assert_eq!(said, ["opened", "reset", "0 1 2 xx", "at e-3"], "cut at {cut}");
        assert!(turn.again);
        assert!(turn.rest.is_empty());
    }
}

#[test]
fn frames_are_heard_and_pings_answered() {
    let mut stream = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n".to_vec();
    for (code, payload) in [
        (1, r#"{"id":"e-1","topic":null,"event":"tidegate:ready","data":{"connection":"c"}}"#),
        (9, "ping"),
        (1, r#"{"id":"e-2","topic":"t","event":null,"data":"0 1 2 xx"}"#),
        (1, r#"{"id":null,"topic":null,"event":"tidegate:closing","data":{"reason":"drain"}}"#),
        (8, ""),
    ] {
        stream.extend_from_slice(&[0x80 | code, payload.len() as u8]);
        stream.extend_from_slice(payload.as_bytes());
    }
    for cut in 0..stream.len() {
        let (said, turn) = heard(Via::Ws, true, &[&stream[..cut], &stream[cut..]]).unwrap();
        assert_eq!(said, ["at e-1", "opened", "at e-2", "0 1 2 xx", "closing drain"], "cut at {cut}");
        assert!(turn.ended);
    }
    let (_, turn) = heard(Via::Ws, true, &[&stream[..stream.len() - 2]]).unwrap();
    assert_eq!(turn.answer[..2], [0x8a, 0x84]);
}
