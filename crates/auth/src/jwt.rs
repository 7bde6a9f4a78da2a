//! One token against the keys at hand: which key may speak, then the signature, then the claims.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::{Deserialize, Serialize};
use tidegate_protocol::{Pattern, Topic};

use crate::identity::user_label;
use crate::keys::VerifyingKey;
use crate::{Algorithm, Error, Grants, Identity, InvalidOption, JwtOptions};

/// More would be no clock skew but tokens that don't expire.
const MAX_LEEWAY: Duration = Duration::from_secs(3600);

/// What every token is checked for, whatever its key.
pub(crate) struct Verifier {
    rules: Validation,
    leeway: Duration,
}

/// The claims that the gateway reads itself; `aud`, `iss` and `nbf` are the library's.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    /// Any value: what is no time gets the same answer, whether it is a text or a number that no clock shows.
    exp: Option<serde_json::Value>,
    #[serde(default)]
    tidegate: GrantClaims,
}

/// The claim `tidegate`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GrantClaims {
    pub(crate) subscribe: Vec<String>,
    pub(crate) publish: Vec<String>,
    pub(crate) admin: bool,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

impl Verifier {
    pub(crate) fn new(options: &JwtOptions) -> Result<Self, InvalidOption> {
        if options.leeway > MAX_LEEWAY {
            return Err(InvalidOption::new(
                "auth.jwt.leeway",
                "more than one hour: tokens would hardly expire",
            ));
        }
        let mut rules = Validation::default();
        // `exp`, too, is required, but by `identity`: the library says of one that it can't read that it is missing.
        let mut required = Vec::new();
        rules.leeway = options.leeway.as_secs();
        rules.validate_nbf = true;
        rules.validate_aud = !options.audience.is_empty();
        if rules.validate_aud {
            rules.set_audience(&options.audience);
            required.push("aud");
        }
        if !options.issuer.is_empty() {
            rules.set_issuer(&options.issuer);
            required.push("iss");
        }
        rules.set_required_spec_claims(&required);
        Ok(Self { leeway: Duration::from_secs(rules.leeway), rules })
    }

    /// Checks the token with those keys that its header lets speak.
    ///
    /// A `kid` that some key has picks that key. Otherwise the keys without one are tried, and if none of them signed
    /// it the answer is [`Error::UnknownKey`] rather than `BadSignature`: the right key may just not be known yet.
    pub(crate) fn verify(&self, token: &str, keys: &[&VerifyingKey]) -> Result<Identity, Error> {
        let header = Header::of(token)?;
        let algorithm: Algorithm = header.alg.parse().map_err(|_| Error::WrongAlgorithm)?;
        let named = |key: &&&VerifyingKey| header.kid.is_some() && key.kid == header.kid;
        let is_named = keys.iter().any(|key| named(&key));
        let candidates = keys.iter().filter(|key| match (&header.kid, is_named) {
            (Some(_), true) => named(key),
            (Some(_), false) => key.kid.is_none(),
            (None, _) => true,
        });
        let unnamed_kid = header.kid.is_some() && !is_named;
        let mut refusal = Error::UnknownKey;
        for key in candidates {
            if key.algorithm != algorithm {
                if refusal == Error::UnknownKey && !unnamed_kid {
                    refusal = Error::WrongAlgorithm;
                }
                continue;
            }
            match self.verify_with(token, key) {
                Err(Error::BadSignature) if unnamed_kid => {}
                Err(Error::BadSignature) => refusal = Error::BadSignature,
                verdict => return verdict,
            }
        }
        Err(refusal)
    }

    fn verify_with(&self, token: &str, key: &VerifyingKey) -> Result<Identity, Error> {
        let mut rules = self.rules.clone();
        rules.algorithms = vec![key.algorithm.library()];
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &rules).map_err(refusal)?.claims;
        self.identity(claims)
    }

    fn identity(&self, claims: Claims) -> Result<Identity, Error> {
        let exp = claims
            .exp
            .ok_or_else(|| bad("`exp` is missing, and a token must expire (an API key need not)"))?;
        let expires_at = exp
            .as_f64()
            .and_then(|exp| Duration::try_from_secs_f64(exp).ok())
            .and_then(|exp| UNIX_EPOCH.checked_add(exp)?.checked_add(self.leeway))
            .ok_or_else(|| not_a_time("exp"))?;
        // The library lets the second of `exp` itself pass; RFC 7519 doesn't, and a stream must not end while its
        // token would still be accepted.
        if expires_at <= SystemTime::now() {
            return Err(Error::Expired);
        }
        if let Some(Err(error)) = claims.sub.as_deref().map(Topic::user) {
            return Err(bad(&format!("`sub` is not a user id: {error}")));
        }
        let grants = &claims.tidegate;
        Ok(Identity {
            grants: Grants::new(
                patterns(&grants.subscribe, "subscribe")?,
                patterns(&grants.publish, "publish")?,
            ),
            admin: grants.admin,
            expires_at: Some(expires_at),
            label: claims.sub.as_deref().map_or_else(|| "token".into(), user_label),
            user: claims.sub.map(Into::into),
        })
    }
}

impl Header {
    /// Read before the library does: it knows no word for `none`, and passes over `crit`.
    fn of(token: &str) -> Result<Self, Error> {
        let (header, rest) = token.split_once('.').ok_or(Error::Malformed)?;
        if rest.split('.').count() != 2 {
            return Err(Error::Malformed);
        }
        let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| Error::Malformed)?;
        let header: Self = serde_json::from_slice(&json).map_err(|_| Error::Malformed)?;
        match header.crit {
            // RFC 7515, 4.1.11: extensions in `crit` must be understood, and none is.
            Some(_) => Err(Error::Malformed),
            None => Ok(header),
        }
    }
}

fn patterns(texts: &[String], claim: &str) -> Result<Vec<Pattern>, Error> {
    let parse = |text: &String| {
        Pattern::parse(text)
            .map_err(|error| bad(&format!("tidegate.{claim} has the pattern {text:?}: {error}")))
    };
    texts.iter().map(parse).collect()
}

fn bad(problem: &str) -> Error {
    Error::BadClaims(problem.to_owned())
}

fn not_a_time(claim: &str) -> Error {
    bad(&format!("`{claim}` is not a time in seconds since 1970"))
}

fn refusal(error: jsonwebtoken::errors::Error) -> Error {
    match error.into_kind() {
        ErrorKind::InvalidSignature => Error::BadSignature,
        ErrorKind::ExpiredSignature => Error::Expired,
        ErrorKind::ImmatureSignature => Error::NotYetValid,
        ErrorKind::InvalidAudience => Error::WrongAudience,
        ErrorKind::InvalidIssuer => Error::WrongIssuer,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Error::WrongAlgorithm,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "aud" => Error::WrongAudience,
            "iss" => Error::WrongIssuer,
            claim => bad(&format!("`{claim}` is missing")),
        },
        ErrorKind::InvalidClaimFormat(claim) => not_a_time(&claim),
        ErrorKind::Json(error) => bad(&error.to_string()),
        _ => Error::Malformed,
    }
}
