//! The entries of a key set, as issuers in the field write them.

use std::fmt;

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

use crate::Algorithm;
use crate::base64::decode;
use crate::keys::{RSA_BITS, VerifyingKey, bits, unpadded};

/// The members of an entry that are used (RFC 7517, RFC 7518, RFC 8037).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// An entry that verifies no token here: which, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    kid: Option<String>,
    reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kid = self.kid.as_deref().unwrap_or("without kid");
        write!(f, "{}: {}", kid.escape_debug(), self.reason)
    }
}

impl VerifyingKey {
    /// The keys that an entry stands for: two if an RSA key names no algorithm.
    pub(crate) fn fetched(entry: &Value) -> Result<Vec<Self>, LeftOut> {
        let kid = entry.get("kid").and_then(Value::as_str).map(str::to_owned);
        let jwk = Jwk::deserialize(entry).map_err(|error| error.to_string());
        jwk.and_then(Jwk::keys).map_err(|reason| LeftOut { kid, reason })
    }
}

impl Jwk {
    fn keys(self) -> Result<Vec<VerifyingKey>, String> {
        if let Some(usage) = self.r#use.as_deref().filter(|usage| *usage != "sig") {
            return Err(format!("its use is {usage:?}, not \"sig\""));
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err("its key_ops have no \"verify\"".into());
        }
        let (algorithms, key) = match self.kty.as_str() {
            "RSA" => (&[Algorithm::Rs256, Algorithm::Ps256][..], self.rsa()?),
            "EC" => self.elliptic()?,
            "OKP" => (&[Algorithm::EdDsa][..], self.ed25519()?),
            // Everyone who can read the URL would know it.
            "oct" => return Err("a secret does not belong in a key set".into()),
            other => return Err(format!("kty {other:?} is not known")),
        };
        let named = self.alg.as_deref().map(|alg| alg.parse::<Algorithm>().map_err(|_| alg)).transpose();
        let algorithms: Vec<Algorithm> = match named {
            Ok(None) => algorithms.to_vec(),
            Ok(Some(named)) if algorithms.contains(&named) => vec![named],
            Ok(Some(other)) => return Err(format!("alg {other} does not fit its kty and crv")),
            Err(other) => return Err(format!("alg {other:?} is not supported")),
        };
        Ok(algorithms.into_iter().map(|alg| VerifyingKey::new(alg, self.kid.clone(), key.clone())).collect())
    }

    fn rsa(&self) -> Result<DecodingKey, String> {
        // Java's BigInteger.toByteArray() puts a zero byte in front of most moduli.
        let number = |name, text: &Option<String>| decoded(name, text).map(|bytes| unpadded(&bytes).to_vec());
        let (n, e) = (number("n", &self.n)?, number("e", &self.e)?);
        let size = bits(&n);
        if !RSA_BITS.contains(&size) {
            return Err(format!("an RSA key of {size} bits: 2048 to 8192 are taken"));
        }
        Ok(DecodingKey::from_rsa_raw_components(&n, &e))
    }

    fn elliptic(&self) -> Result<(&'static [Algorithm], DecodingKey), String> {
        let (algorithms, size): (&[Algorithm], usize) = match self.crv.as_deref() {
            Some("P-256") => (&[Algorithm::Es256], 32),
            Some("P-384") => (&[Algorithm::Es384], 48),
            other => return Err(format!("crv {other:?} is not supported")),
        };
        let coordinate = |name, text| {
            let bytes = decoded(name, text)?;
            let digits = unpadded(&bytes);
            // RFC 7518, 6.2.1.2: as long as the curve's numbers. Some issuers leave out zeros, or
            // add one.
            let zeros = size.checked_sub(digits.len()).ok_or_else(|| format!("{name} is too long"))?;
            Ok::<_, String>([&vec![0; zeros][..], digits].concat())
        };
        // Uncompressed (SEC 1, 2.3.3).
        let point = [&[4][..], &coordinate("x", &self.x)?, &coordinate("y", &self.y)?].concat();
        Ok((algorithms, DecodingKey::from_ec_der(&point)))
    }

    fn ed25519(&self) -> Result<DecodingKey, String> {
        if self.crv.as_deref() != Some("Ed25519") {
            return Err(format!("crv {:?} is not supported", self.crv));
        }
        let x = decoded("x", &self.x)?;
        if x.len() != 32 {
            return Err(format!("x has {} bytes instead of 32", x.len()));
        }
        Ok(DecodingKey::from_ed_der(&x))
    }
}

fn decoded(name: &str, text: &Option<String>) -> Result<Vec<u8>, String> {
    let text = text.as_deref().ok_or_else(|| format!("{name} is missing"))?;
    // RFC 7518 says base64url without padding. Some issuers pad all the same.
    decode(text).ok_or_else(|| format!("{name} is not base64url"))
}
