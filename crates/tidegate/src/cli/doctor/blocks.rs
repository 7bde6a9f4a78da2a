//! A stream's bytes cut into blocks, each with the time at which it was complete. Comments count: they are the heartbeats.

use tokio::time::Instant;

/// Longer lines are no gateway's: the rest of such a line is thrown away.
const LONGEST: usize = 1 << 20;

/// What stands between two empty lines.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) at: Instant,
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
}

/// Takes bytes as they come.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    line: Vec<u8>,
    /// The last byte was CR: an LF after it is of the same line end.
    after_cr: bool,
    begun: bool,
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
}

impl Blocks {
    /// The blocks that `bytes` complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], at: Instant) -> Vec<Block> {
        let mut done = Vec::new();
        for &byte in bytes {
            let second = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            match byte {
                b'\n' if second => {}
                b'\n' | b'\r' => done.extend(self.end_line(at)),
                _ if self.line.len() < LONGEST => self.line.push(byte),
                _ => {}
            }
        }
        done
    }

    fn end_line(&mut self, at: Instant) -> Option<Block> {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if line.is_empty() {
            let (id, event, data) = (self.id.take(), self.event.take(), self.data.take());
            return std::mem::take(&mut self.begun).then_some(Block { at, id, event, data });
        }
        self.begun = true;
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => self.event = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) if data.len() < LONGEST => {
                    data.push('\n');
                    data.push_str(value);
                }
                Some(_) => {}
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
        None
    }
}

impl Block {
    /// One of the gateway's own events.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.event.as_deref().and_then(|event| event.strip_prefix("tidegate:")) == Some(word)
    }

    /// A field of the data, where that is a JSON object.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(self.data.as_deref()?).ok()?;
        value[name].as_str().map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_out_however_the_bytes_come_in() {
        let text = "retry: 5\r\nid: a-1\revent: tidegate:ready\ndata: {\"node\":\"n\"}\ndata\n\n:\n\n\n\nid: a-2\r\n\r\n:rest";
        for size in [1, 2, 3, 1000] {
            let mut blocks = Blocks::default();
            let found: Vec<Block> =
                text.as_bytes().chunks(size).flat_map(|bytes| blocks.feed(bytes, Instant::now())).collect();
            assert_eq!(found.len(), 3, "{found:?}");
            assert!(found[0].is("ready") && found[0].data.as_deref() == Some("{\"node\":\"n\"}\n"));
            assert_eq!(found[0].field("node").as_deref(), Some("n"));
            assert_eq!((&found[1].id, &found[1].event), (&None, &None));
            assert_eq!(found[2].id.as_deref(), Some("a-2"));
        }
    }
}
