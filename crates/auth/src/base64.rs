//! Base64 as issuers in the field write it.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const EITHER: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Either alphabet, padded or not: both mean the same bytes. Bits that are left over at the end are
/// dropped, as Java, .NET and Python do: many a secret was typed, not encoded.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    EITHER.decode(text.replace('+', "-").replace('/', "_")).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn what_other_languages_decode_is_decoded() {
        for text in ["-_8=", "+/8=", "-_8", "+/8", "+/9"] {
            assert_eq!(decode(text).as_deref(), Some(&[0xfb, 0xff][..]), "{text}");
        }
        for text in ["a", "+/8==", "+/8=x", "ab cd", "\u{e9}"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
