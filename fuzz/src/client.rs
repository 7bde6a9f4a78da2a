//! The command line's own readers of streams, given what no gateway would send.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sse_stream::SseStream;
use tokio::time::Instant;

#[allow(dead_code, reason = "the binary uses the rest")]
#[path = "../../crates/tidegate/src/cli/doctor/blocks.rs"]
mod blocks;

pub fn run(input: &[u8]) {
    let at = Instant::now();
    let shape = |block: blocks::Block| (block.id, block.event, block.data);
    let whole: Vec<_> = blocks::Blocks::default().feed(input, at).into_iter().map(shape).collect();
    let mut reader = blocks::Blocks::default();
    let size = 1 + input.first().map_or(0, |byte| usize::from(byte % 7));
    let parts: Vec<_> = input.chunks(size).flat_map(|bytes| reader.feed(bytes, at)).map(shape).collect();
    assert_eq!(whole, parts, "it matters how the bytes arrive");
    let chunks: Vec<Bytes> = input.chunks(size).map(Bytes::copy_from_slice).collect();
    let chunks = stream::iter(chunks.into_iter().map(Ok::<_, std::convert::Infallible>));
    let _: Vec<_> = crate::at_once(SseStream::from_bytes_stream(chunks).collect());
}
