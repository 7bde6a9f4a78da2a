//! Verifying keys, each bound to one algorithm, so that no token can choose how it is checked.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};

use crate::digest::{Digest, sha256};
use crate::{Algorithm, InvalidOption, JwtKey, KeyMaterial};

/// The RSA moduli that the verifier takes, in bits.
pub(crate) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

#[derive(Clone, Debug)]
pub(crate) struct VerifyingKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) decoding: DecodingKey,
    /// Over the key itself: the same on every node, whatever the order of the configuration.
    pub(crate) digest: Digest,
}

impl VerifyingKey {
    pub(crate) fn new(algorithm: Algorithm, kid: Option<String>, decoding: DecodingKey) -> Self {
        let digest = match decoding.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => sha256([Some(&bytes[..])]),
            DecodingKeyKind::RsaModulusExponent { n, e } => sha256([Some(&n[..]), Some(&e[..])]),
        };
        Self { algorithm, kid, decoding, digest }
    }

    /// A configured key; `setting` is its place in the configuration.
    pub(crate) fn configured(key: &JwtKey, setting: &str) -> Result<Self, InvalidOption> {
        let algorithm = key.algorithm;
        let decoding = match (&key.material, algorithm.is_symmetric()) {
            (KeyMaterial::Secret(secret), true) => shared(algorithm, secret.bytes()),
            (KeyMaterial::PublicPem(pem), false) => public(algorithm, &String::from_utf8_lossy(pem.bytes())),
            (KeyMaterial::Secret(_), false) => {
                Err(format!("{algorithm} verifies with a public key: give public_key_file, not a secret"))
            }
            (KeyMaterial::PublicPem(_), true) => Err(format!(
                "{algorithm} needs a secret that only signer and gateway know, and a public key is none: give secret or secret_file"
            )),
        };
        let decoding = decoding.map_err(|problem| InvalidOption::new(setting, problem))?;
        Ok(Self::new(algorithm, key.kid.clone().filter(|kid| !kid.is_empty()), decoding))
    }
}

fn shared(algorithm: Algorithm, secret: &[u8]) -> Result<DecodingKey, String> {
    if secret.is_empty() {
        return Err("the secret is empty".into());
    }
    if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err(format!(
            "{algorithm} got a PEM file as its secret: a key pair belongs to RS256, PS256, ES256, ES384 or EdDSA"
        ));
    }
    let (has, wants) = (secret.len(), algorithm.secret_bytes());
    if has < wants {
        return Err(format!(
            "the secret has {has} bytes and {algorithm} needs at least {wants}, the length of its hash (RFC 7518, 3.2): whoever guesses a shorter one signs tokens for anybody. Make one with `openssl rand -base64 48`"
        ));
    }
    Ok(DecodingKey::from_secret(secret))
}

fn public(algorithm: Algorithm, pem: &str) -> Result<DecodingKey, String> {
    if pem.contains("PRIVATE KEY") {
        return Err("this is a private key, which the gateway must not have: give its public half".into());
    }
    if pem.contains("CERTIFICATE") {
        return Err("this is a certificate: take its key with `openssl x509 -pubkey -noout`".into());
    }
    let decoding = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::Es256 | Algorithm::Es384 => DecodingKey::from_ec_pem(pem.as_bytes()),
        _ => DecodingKey::from_ed_pem(pem.as_bytes()),
    };
    let decoding = decoding.map_err(|_| format!("not a PEM public key for {algorithm}"))?;
    // A key of the wrong curve or size would load and then refuse every token.
    let jwk = Jwk::from_decoding_key(&decoding, Some(algorithm.library()))
        .map_err(|_| format!("not a public key that {algorithm} can use"))?;
    if !fits(&jwk.algorithm, algorithm) {
        return Err(format!(
            "a public key of another curve or size than {algorithm} uses (RSA: 2048 to 8192 bits)"
        ));
    }
    Ok(decoding)
}

fn fits(parameters: &AlgorithmParameters, algorithm: Algorithm) -> bool {
    match (parameters, algorithm) {
        (AlgorithmParameters::RSA(rsa), Algorithm::Rs256 | Algorithm::Ps256) => {
            URL_SAFE_NO_PAD.decode(&rsa.n).is_ok_and(|n| RSA_BITS.contains(&bits(&n)))
        }
        (AlgorithmParameters::EllipticCurve(ec), Algorithm::Es256) => ec.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(ec), Algorithm::Es384) => ec.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(ed), Algorithm::EdDsa) => ed.curve == EllipticCurve::Ed25519,
        _ => false,
    }
}

pub(crate) fn bits(number: &[u8]) -> usize {
    match unpadded(number) {
        [] => 0,
        rest => rest.len() * 8 - rest[0].leading_zeros() as usize,
    }
}

/// A number without zeros in front.
pub(crate) fn unpadded(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
