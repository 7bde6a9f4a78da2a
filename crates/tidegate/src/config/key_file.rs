//! Files with a key in them: a text as editors and shells write it, or raw bytes.

use std::fs;
use std::path::Path;

pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The key in a file. Of a text a byte order mark and the line ends behind it are no part; anything
/// else is taken as it is. The error names the file and nothing of what is in it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = fs::read(path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
    if is_utf16(&bytes) {
        // Windows PowerShell's `>` writes it.
        return Err(format!("{} is UTF-16 text: save it as UTF-8", path.display()));
    }
    let key = match std::str::from_utf8(&bytes) {
        Ok(text) if is_text(text) => {
            let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            text.trim_end_matches(['\r', '\n']).as_bytes()
        }
        _ => &bytes[..],
    };
    if key.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(key.to_vec()) }
}

/// Of 32 random bytes one in 10^10 passes for this, and only one that also ends in a line end loses
/// anything.
fn is_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\n'))
}

/// ASCII in UTF-16, with its byte order mark. More than the mark is asked for: random bytes may
/// begin like it.
fn is_utf16(bytes: &[u8]) -> bool {
    let high = match bytes {
        [0xff, 0xfe, ..] => 1,
        [0xfe, 0xff, ..] => 0,
        _ => return false,
    };
    let mut pairs = bytes[2..].chunks_exact(2);
    pairs.len() > 0 && pairs.all(|pair| pair[high] == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(content: &[u8]) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, content).unwrap();
        read(&path)
    }

    #[test]
    fn a_text_is_read_without_its_wrapping() {
        for content in ["key", "key\n", "key\r\n", "\u{feff}key\r\n", "\u{feff}key"] {
            assert_eq!(key(content.as_bytes()).unwrap(), b"key", "{content:?}");
        }
        assert_eq!(key(b"a\r\nb\r\n").unwrap(), b"a\r\nb");
        for empty in ["", "\n", "\u{feff}\r\n"] {
            assert!(key(empty.as_bytes()).unwrap_err().ends_with("is empty"));
        }
    }

    #[test]
    fn raw_bytes_are_read_as_they_are() {
        for content in [&b"\xef\xbb\xbf\x80key\n"[..], b"\x00\r\n", b"\xff\xfekey\n", b"k\x00\x01\x02\n"] {
            assert_eq!(key(content).unwrap(), content);
        }
    }

    #[test]
    fn utf_16_is_refused_by_name() {
        for content in [&b"\xff\xfek\x00e\x00y\x00\n\x00"[..], b"\xfe\xff\x00k\x00e\x00y"] {
            assert!(key(content).unwrap_err().contains("save it as UTF-8"));
        }
    }
}
