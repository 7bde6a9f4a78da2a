//! Tokens for development, tests and load: what an application's own login would sign.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use tidegate_protocol::{Pattern, Topic, TopicError};

use crate::claims::GrantClaims;
use crate::{Algorithm, Secret};

/// Signs tokens.
#[derive(Clone, Debug)]
pub struct SigningKey {
    algorithm: Algorithm,
    kid: Option<String>,
    encoding: EncodingKey,
}

/// What a token says.
#[derive(Clone, Debug)]
pub struct Claims {
    /// `sub`.
    pub user: Option<String>,
    /// `tidegate.subscribe`.
    pub subscribe: Vec<Pattern>,
    /// `tidegate.publish`.
    pub publish: Vec<Pattern>,
    /// `tidegate.admin`.
    pub admin: bool,
    /// `aud`.
    pub audience: Vec<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `nbf`.
    pub not_before: Option<SystemTime>,
    /// `exp`, cut to whole seconds.
    pub expires_at: SystemTime,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The secret is empty, or the PEM file holds no private key of this kind.
    #[error("not a key that {0} can sign with: a secret for HS algorithms, else a PKCS#8 private key in PEM")]
    Key(Algorithm),
    /// The user id makes no topic.
    #[error("not a user id: {0}")]
    User(#[from] TopicError),
    /// A time before 1970.
    #[error("a time before 1970")]
    Time,
    /// The signer refused.
    #[error("the token could not be signed: {0}")]
    Sign(String),
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    exp: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    aud: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    tidegate: GrantClaims,
}

impl SigningKey {
    /// A key from a secret (HS algorithms) or from the text of a PEM file with a private key (PKCS#8).
    pub fn new(algorithm: Algorithm, key: &Secret, kid: Option<String>) -> Result<Self, MintError> {
        let bytes = key.bytes();
        let encoding = match algorithm {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 if bytes.is_empty() => None,
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => Some(EncodingKey::from_secret(bytes)),
            Algorithm::Rs256 | Algorithm::Ps256 => EncodingKey::from_rsa_pem(bytes).ok(),
            Algorithm::Es256 | Algorithm::Es384 => EncodingKey::from_ec_pem(bytes).ok(),
            Algorithm::EdDsa => EncodingKey::from_ed_pem(bytes).ok(),
        };
        let encoding = encoding.ok_or(MintError::Key(algorithm))?;
        Ok(Self { algorithm, kid: kid.filter(|kid| !kid.is_empty()), encoding })
    }
}

impl Claims {
    /// A token for `user` until `expires_at` that grants nothing more than the user's own topic.
    pub fn for_user(user: impl Into<String>, expires_at: SystemTime) -> Self {
        Self {
            user: Some(user.into()),
            subscribe: Vec::new(),
            publish: Vec::new(),
            admin: false,
            audience: Vec::new(),
            issuer: None,
            not_before: None,
            expires_at,
        }
    }
}

/// Makes a signed token.
pub fn mint(key: &SigningKey, claims: &Claims) -> Result<String, MintError> {
    claims.user.as_deref().map(Topic::user).transpose()?;
    let texts = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect();
    let body = Body {
        sub: claims.user.as_deref(),
        iat: seconds(SystemTime::now())?,
        nbf: claims.not_before.map(seconds).transpose()?,
        exp: seconds(claims.expires_at)?,
        aud: &claims.audience,
        iss: claims.issuer.as_deref(),
        tidegate: GrantClaims {
            subscribe: texts(&claims.subscribe),
            publish: texts(&claims.publish),
            admin: claims.admin,
        },
    };
    let header = Header { kid: key.kid.clone(), ..Header::new(key.algorithm.library()) };
    jsonwebtoken::encode(&header, &body, &key.encoding).map_err(|error| MintError::Sign(error.to_string()))
}

fn seconds(time: SystemTime) -> Result<u64, MintError> {
    time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).map_err(|_| MintError::Time)
}
