use std::collections::HashSet;
use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq};
use tidegate_protocol::Pattern;

use crate::digest::{Digest, sha256};
use crate::{ApiKey, Grants, Identity, InvalidOption};

/// Shorter keys, in bytes, can be guessed.
const SHORTEST: usize = 16;

/// The static keys of backends, kept as digests: equal in length, so a comparison tells nothing of a key's own.
pub(crate) struct ApiKeys(Vec<(Digest, Identity)>);

impl ApiKeys {
    pub(crate) fn new(keys: &[ApiKey], invalid: &mut Vec<InvalidOption>) -> Self {
        let (mut names, mut digests) = (HashSet::new(), HashSet::new());
        let mut all = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            let setting = format!("auth.api_keys[{index}]");
            let mut wrong = |field: &str, problem: String| {
                invalid.push(InvalidOption::new(format!("{setting}.{field}"), problem));
            };
            if key.name.is_empty() || key.name.chars().any(|c| c.is_control() || c.is_whitespace()) {
                wrong("name", "a name for logs is needed, without white space".into());
            } else if !names.insert(&key.name) {
                wrong(
                    "name",
                    format!("{:?} names another key already, and rate limits go by name", key.name),
                );
            }
            let bytes = key.key.bytes();
            let digest = sha256([Some(bytes)]);
            if bytes.is_empty() {
                wrong("key", "the key is empty".into());
            } else if !bytes.iter().all(u8::is_ascii_graphic) {
                wrong("key", "only printable ASCII without white space can be sent in a header".into());
            } else if !digests.insert(digest) {
                wrong("key", "the same key is configured twice".into());
            } else if bytes.len() < SHORTEST {
                wrong(
                    "key",
                    format!(
                        "the key has {} bytes and needs at least {SHORTEST}, since shorter ones can be guessed. Make one with `openssl rand -base64 48`",
                        bytes.len()
                    ),
                );
            }
            let mut patterns = |field: &str, texts: &[String]| -> Vec<Pattern> {
                let parse = |text: &String| match Pattern::parse(text) {
                    Ok(pattern) => Some(pattern),
                    Err(error) => {
                        wrong(field, format!("the pattern {text:?}: {error}"));
                        None
                    }
                };
                texts.iter().filter_map(parse).collect()
            };
            let grants =
                Grants::new(patterns("subscribe", &key.subscribe), patterns("publish", &key.publish));
            let label: Arc<str> = format!("key:{}", key.name).into();
            all.push((digest, Identity { user: None, grants, admin: key.admin, expires_at: None, label }));
        }
        Self(all)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares with every key, also after one was equal.
    pub(crate) fn find(&self, presented: &str) -> Option<Identity> {
        let digest = sha256([Some(presented.as_bytes())]);
        let equal: Vec<Choice> = self.0.iter().map(|(key, _)| key.ct_eq(&digest)).collect();
        let found = equal.iter().position(|equal| bool::from(*equal))?;
        self.0.get(found).map(|(_, identity)| identity.clone())
    }
}
