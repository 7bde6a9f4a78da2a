//! What a token says, once its signature is known to be right.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_protocol::{Pattern, Topic};

use crate::digest::sha256;
use crate::identity::user_label;
use crate::keys::VerifyingKey;
use crate::{Error, Grants, Identity, InvalidOption, JwtOptions};

/// More would be no clock skew but tokens that don't expire.
const MAX_LEEWAY: Duration = Duration::from_secs(3600);

/// What every token's claims are checked for, whatever its key.
pub(crate) struct Rules {
    audience: Vec<String>,
    issuer: Vec<String>,
    leeway: Duration,
}

/// The claims that the gateway reads. Any values, so that a claim of another type is refused by its
/// name.
#[derive(Deserialize)]
pub(crate) struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    aud: Option<Value>,
    iss: Option<Value>,
    tidegate: Option<Value>,
    /// RFC 9068.
    client_id: Option<Value>,
    /// OpenID Connect's name for it.
    azp: Option<Value>,
}

/// The claim `tidegate`.
#[derive(Default, Serialize)]
pub(crate) struct GrantClaims {
    pub(crate) subscribe: Vec<String>,
    pub(crate) publish: Vec<String>,
    pub(crate) admin: bool,
}

impl Rules {
    pub(crate) fn new(options: &JwtOptions) -> Result<Self, InvalidOption> {
        if options.leeway > MAX_LEEWAY {
            let problem = "more than one hour: tokens would hardly expire";
            return Err(InvalidOption::new("auth.jwt.leeway", problem));
        }
        let leeway = Duration::from_secs(options.leeway.as_secs());
        Ok(Self { audience: options.audience.clone(), issuer: options.issuer.clone(), leeway })
    }

    /// The identity that claims signed by `key` stand for.
    pub(crate) fn identity(&self, claims: Claims, key: &VerifyingKey) -> Result<Identity, Error> {
        let expires_at = self.expiry(claims.exp.as_ref())?;
        self.check_start(claims.nbf.as_ref())?;
        self.check_issuer(claims.iss.as_ref())?;
        self.check_audience(claims.aud.as_ref())?;
        let user = claims.user()?;
        let label = user.map_or_else(|| claims.client_label(key), user_label);
        let user = user.map(Into::into);
        let grants = GrantClaims::of(claims.tidegate)?;
        Ok(Identity {
            user,
            grants: Grants::new(
                patterns(&grants.subscribe, "subscribe")?,
                patterns(&grants.publish, "publish")?,
            ),
            admin: grants.admin,
            expires_at: Some(expires_at),
            label,
        })
    }

    fn expiry(&self, exp: Option<&Value>) -> Result<SystemTime, Error> {
        let exp =
            exp.ok_or_else(|| bad("`exp` is missing, and a token must expire (an API key need not)"))?;
        let expires_at =
            time(exp).and_then(|exp| exp.checked_add(self.leeway)).ok_or_else(|| not_a_time("exp"))?;
        // RFC 7519: `exp` itself is over. A stream must not end while its token would still be
        // accepted.
        if expires_at <= SystemTime::now() {
            return Err(Error::Expired);
        }
        Ok(expires_at)
    }

    fn check_start(&self, nbf: Option<&Value>) -> Result<(), Error> {
        let Some(nbf) = nbf else { return Ok(()) };
        let start = time(nbf).ok_or_else(|| not_a_time("nbf"))?;
        if start > SystemTime::now() + self.leeway {
            return Err(Error::NotYetValid);
        }
        Ok(())
    }

    fn check_issuer(&self, iss: Option<&Value>) -> Result<(), Error> {
        let trusted = self.issuer.is_empty() || iss.is_some_and(|iss| names_one(&self.issuer, iss));
        if trusted { Ok(()) } else { Err(Error::WrongIssuer) }
    }

    /// One audience, or a list of them (RFC 7519, 4.1.3).
    fn check_audience(&self, aud: Option<&Value>) -> Result<(), Error> {
        let ours = match aud {
            _ if self.audience.is_empty() => true,
            Some(Value::Array(list)) => list.iter().any(|aud| names_one(&self.audience, aud)),
            Some(aud) => names_one(&self.audience, aud),
            None => false,
        };
        if ours { Ok(()) } else { Err(Error::WrongAudience) }
    }
}

impl Claims {
    /// `sub`, which makes a topic.
    fn user(&self) -> Result<Option<&str>, Error> {
        let user = match &self.sub {
            None => return Ok(None),
            Some(Value::String(user)) => user,
            Some(_) => return Err(bad("`sub` must be a string (RFC 7519, 4.1.2): \"42\", not 42")),
        };
        Topic::user(user).map_err(|error| bad(&format!("`sub` is not a user id: {error}")))?;
        Ok(Some(user))
    }

    /// For tokens without `sub`. The key is part of it, because any issuer can write any claim.
    fn client_label(&self, key: &VerifyingKey) -> Arc<str> {
        let text = |value: Option<&Value>| value.map(ToString::to_string);
        let (issuer, client) = (text(self.iss.as_ref()), text(self.client_id.as_ref().or(self.azp.as_ref())));
        let [issuer, client] = [&issuer, &client].map(|text| text.as_deref().map(str::as_bytes));
        let digest = sha256([Some(&key.digest[..]), issuer, client]);
        // 128 bits: none can be made to meet another key's.
        format!("token:{}", URL_SAFE_NO_PAD.encode(&digest[..16])).into()
    }
}

impl GrantClaims {
    fn of(claim: Option<Value>) -> Result<Self, Error> {
        let mut fields = match claim {
            None => return Ok(Self::default()),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(bad("`tidegate` must be an object such as {\"subscribe\": [\"room:*\"]}")),
        };
        Ok(Self {
            subscribe: grant(&mut fields, "subscribe")?,
            publish: grant(&mut fields, "publish")?,
            admin: grant(&mut fields, "admin")?,
        })
    }
}

fn grant<T: DeserializeOwned + Default>(fields: &mut Map<String, Value>, name: &str) -> Result<T, Error> {
    let value = fields.remove(name).map(serde_json::from_value).transpose();
    value.map(Option::unwrap_or_default).map_err(|error| bad(&format!("`tidegate.{name}`: {error}")))
}

fn patterns(texts: &[String], claim: &str) -> Result<Vec<Pattern>, Error> {
    let parse = |text: &String| {
        Pattern::parse(text)
            .map_err(|error| bad(&format!("tidegate.{claim} has the pattern {text:?}: {error}")))
    };
    texts.iter().map(parse).collect()
}

fn names_one(configured: &[String], value: &Value) -> bool {
    value.as_str().is_some_and(|text| configured.iter().any(|configured| configured == text))
}

/// A NumericDate: seconds since 1970, with or without a fraction.
fn time(value: &Value) -> Option<SystemTime> {
    let since = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    UNIX_EPOCH.checked_add(since)
}

pub(crate) fn bad(problem: &str) -> Error {
    Error::BadClaims(problem.to_owned())
}

fn not_a_time(claim: &str) -> Error {
    bad(&format!("`{claim}` is not a time in seconds since 1970"))
}
