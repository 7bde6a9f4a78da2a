/// Why a credential was refused. No message contains the credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was presented, and the gateway isn't open.
    #[error("no credential: send `Authorization: Bearer TOKEN`, the token cookie, or ?access_token=")]
    Missing,
    /// Not three base64url parts with a JSON header, or a header extension that nobody here understands.
    #[error("the credential is not a well-formed JSON Web Token: send it whole and unchanged")]
    Malformed,
    /// Longer than `auth.max_token_bytes`.
    #[error("the credential has {size} bytes and the limit is {limit}: put fewer grants in the token")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The configured limit in bytes.
        limit: usize,
    },
    /// No configured key answers to it: neither an API key nor a signing key of that `kid`.
    #[error("no configured key fits the credential: check the key, or the token's `kid`")]
    UnknownKey,
    /// It names no key, and more keys than are tried could have signed it.
    #[error(
        "the token names no key that is known, and too many could have signed it: its header needs the `kid` of its key"
    )]
    TooManyKeys,
    /// `none`, an unsupported algorithm, or another one than the key is bound to.
    #[error("the token's algorithm is not the one its key is configured for")]
    WrongAlgorithm,
    /// The signature doesn't belong to header and claims.
    #[error("the token's signature is wrong: it was signed with another key, or changed on the way")]
    BadSignature,
    /// `exp` has passed.
    #[error("the token has expired: get a new one")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet: wait, or check the clocks")]
    NotYetValid,
    /// `aud` is absent or names somebody else.
    #[error("the token is not meant for this gateway: its `aud` must name a configured audience")]
    WrongAudience,
    /// `iss` is absent or names a stranger.
    #[error("the token's issuer is not trusted: its `iss` must be a configured issuer")]
    WrongIssuer,
    /// The signature is right, what it signs is not.
    #[error("the token's claims are wrong: {0}")]
    BadClaims(String),
    /// Only a cookie was presented, by a page of a foreign origin.
    #[error(
        "the token cookie does not count on requests from this Origin: add it to cors.origins, or send the token as a Bearer header"
    )]
    ForeignOrigin,
    /// The token may be good, but the key set that could tell was never fetched.
    #[error("the signing keys could not be fetched yet: try again shortly")]
    KeysUnavailable,
}

impl Error {
    /// A stable word for metric labels and problem types.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::UnknownKey => "unknown_key",
            Self::TooManyKeys => "too_many_keys",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::BadClaims(_) => "bad_claims",
            Self::ForeignOrigin => "foreign_origin",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// Whether the same credential may be accepted a moment later: a 503 rather than a 401.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::KeysUnavailable)
    }
}
