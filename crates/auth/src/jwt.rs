//! One token against the keys at hand: which key may speak, then the signature, then the claims.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::claims::{Claims, Rules, bad};
use crate::keys::VerifyingKey;
use crate::{Algorithm, Error, Identity};

/// The most keys that one token tries: a signature costs up to 100 µs, and anyone may send tokens
/// that no key signed. Only a token without a `kid` tries several, and large sets give each key one.
const MAX_TRIES: usize = 64;

/// A token in its parts, with nothing checked but its form.
struct Token<'a> {
    /// Header and claims: what the signature is over.
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
    header: Header,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "is_given")]
    crit: bool,
}

/// Whether a member is there at all: null is a value, too.
fn is_given<'de, D: Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(member).map(|_| true)
}

impl Rules {
    /// Checks the token with those keys that its header lets speak.
    ///
    /// A `kid` that some key has picks that key. Otherwise the keys without one are tried, and if none of them signed
    /// it the answer is [`Error::UnknownKey`] rather than `BadSignature`: the right key may just not be known yet.
    pub(crate) fn verify(&self, token: &str, keys: &[&VerifyingKey]) -> Result<Identity, Error> {
        let token = Token::parse(token)?;
        let kid = &token.header.kid;
        let algorithm: Algorithm = token.header.alg.parse().map_err(|_| Error::WrongAlgorithm)?;
        let named = |key: &&&VerifyingKey| kid.is_some() && key.kid == *kid;
        let is_named = keys.iter().any(|key| named(&key));
        let candidates = keys.iter().filter(|key| match (kid, is_named) {
            (Some(_), true) => named(key),
            (Some(_), false) => key.kid.is_none(),
            (None, _) => true,
        });
        let unnamed_kid = kid.is_some() && !is_named;
        let mut refusal = Error::UnknownKey;
        let mut tries = 0;
        for key in candidates {
            if key.algorithm != algorithm {
                if refusal == Error::UnknownKey && !unnamed_kid {
                    refusal = Error::WrongAlgorithm;
                }
                continue;
            }
            if tries == MAX_TRIES {
                return Err(Error::TooManyKeys);
            }
            tries += 1;
            match self.verify_with(&token, key) {
                Err(Error::BadSignature) if unnamed_kid => {}
                Err(Error::BadSignature) => refusal = Error::BadSignature,
                verdict => return verdict,
            }
        }
        Err(refusal)
    }

    fn verify_with(&self, token: &Token<'_>, key: &VerifyingKey) -> Result<Identity, Error> {
        let message = token.message.as_bytes();
        match jsonwebtoken::crypto::verify(token.signature, message, &key.decoding, key.algorithm.library()) {
            Ok(true) => self.identity(token.claims()?, key),
            Ok(false) => Err(Error::BadSignature),
            Err(_) => Err(Error::Malformed),
        }
    }
}

impl<'a> Token<'a> {
    fn parse(token: &'a str) -> Result<Self, Error> {
        let (message, signature) = token.rsplit_once('.').ok_or(Error::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Error::Malformed)?;
        if claims.contains('.') {
            return Err(Error::Malformed);
        }
        let header: Header = object(&decoded(header)?).map_err(|_| Error::Malformed)?;
        // RFC 7515, 4.1.11: extensions in `crit` must be understood, and none is.
        if header.crit { Err(Error::Malformed) } else { Ok(Self { message, claims, signature, header }) }
    }

    fn claims(&self) -> Result<Claims, Error> {
        object(&decoded(self.claims)?).map_err(|problem| bad(&problem))
    }
}

/// A list would do for serde, too, and must not.
fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err("not a JSON object".into());
    }
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

fn decoded(part: &str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Malformed)
}
