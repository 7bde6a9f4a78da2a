//! SHA-256 over several parts.

use aws_lc_rs::digest::{Context, SHA256};

pub(crate) type Digest = [u8; 32];

/// Each part goes in with its length in front, and an absent one with a length that none has: no
/// two lists of parts are the same bytes.
pub(crate) fn sha256<'a>(parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        context.update(&length.to_be_bytes());
        context.update(part.unwrap_or_default());
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
