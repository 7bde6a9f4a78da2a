//! Base64 as issuers in the field write it.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const EITHER: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Either alphabet, padded or not: both mean the same bytes.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    EITHER.decode(text.replace('+', "-").replace('/', "_")).ok()
}
