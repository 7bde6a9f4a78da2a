//! Entries of key sets as issuers in the field write them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use tidegate_auth::{Algorithm, Error};

use crate::support::*;

const LONG: Duration = Duration::from_secs(3600);

/// What a token gets from a gateway that asks for this set.
async fn ask(keys: &[Value], token: &str) -> Result<(), Error> {
    let endpoint = Endpoint::start(keys).await;
    bearer(&build(&endpoint.options(LONG)), token).await.map(|_| ())
}

fn with(mut key: Value, field: &str, value: impl Into<Value>) -> Value {
    key[field] = value.into();
    key
}

fn bytes(key: &Value, field: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(key[field].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_modulus_may_be_padded() {
    let rsa = pair(Algorithm::Rs256);
    let key = jwk(Algorithm::Rs256, &rsa.public, "a");
    let token = alice(Algorithm::Rs256, &rsa.private, Some("a"));
    let signed = [&[0][..], &bytes(&key, "n")].concat();
    for n in [
        URL_SAFE_NO_PAD.encode(&signed),
        URL_SAFE.encode(&signed),
        URL_SAFE.encode(bytes(&key, "n")),
        STANDARD.encode(bytes(&key, "n")),
    ] {
        let key = with(with(key.clone(), "n", n.clone()), "e", "AAEAAQ==");
        assert_eq!(ask(&[key], &token).await, Ok(()), "{n}");
    }
}

#[tokio::test]
async fn a_coordinate_may_lack_its_zeros_or_have_one_more() {
    let (ec, key) = loop {
        let ec = pair(Algorithm::Es256);
        let key = jwk(Algorithm::Es256, &ec.public, "a");
        if bytes(&key, "x")[0] == 0 {
            break (ec, key);
        }
    };
    let token = alice(Algorithm::Es256, &ec.private, Some("a"));
    let (x, y) = (bytes(&key, "x"), bytes(&key, "y"));
    let short = with(key.clone(), "x", URL_SAFE_NO_PAD.encode(&x[1..]));
    assert_eq!(ask(&[short], &token).await, Ok(()));
    let long = with(key.clone(), "y", URL_SAFE_NO_PAD.encode([&[0][..], &y].concat()));
    assert_eq!(ask(&[long], &token).await, Ok(()));
    let longer = with(key, "y", URL_SAFE_NO_PAD.encode([&[1][..], &y].concat()));
    assert_eq!(ask(&[longer], &token).await, Err(Error::UnknownKey));
}

#[tokio::test]
async fn ed25519_goes_by_both_of_its_names() {
    let ed = pair(Algorithm::EdDsa);
    let claims = json!({ "sub": "alice", "exp": at(60) });
    let signing = EncodingKey::from_ed_pem(ed.private.as_bytes()).unwrap();
    let token = |alg: &str| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": alg, "kid": "a" })), part(&claims));
        let algorithm = jsonwebtoken::Algorithm::EdDSA;
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &signing, algorithm).unwrap();
        format!("{message}.{signature}")
    };
    for in_set in ["EdDSA", "Ed25519"] {
        let key = with(jwk(Algorithm::EdDsa, &ed.public, "a"), "alg", in_set);
        for in_token in ["EdDSA", "Ed25519"] {
            assert_eq!(
                ask(std::slice::from_ref(&key), &token(in_token)).await,
                Ok(()),
                "{in_set} {in_token}"
            );
        }
    }
    let other = with(jwk(Algorithm::EdDsa, &ed.public, "a"), "crv", "Ed448");
    assert_eq!(ask(&[other], &token("EdDSA")).await, Err(Error::UnknownKey));
}

#[tokio::test]
async fn every_key_of_a_large_set_is_taken() {
    let ec = pair(Algorithm::Es256);
    let key = jwk(Algorithm::Es256, &ec.public, "last");
    let stranger = jwk(Algorithm::Es256, &pair(Algorithm::Es256).public, "");
    let mut keys: Vec<Value> =
        (0..100).map(|n| with(stranger.clone(), "kid", format!("k{n}"))).chain([key]).collect();
    assert_eq!(ask(&keys, &alice(Algorithm::Es256, &ec.private, Some("last"))).await, Ok(()));

    // Without a kid only some are tried, and the answer says what is missing.
    let nameless = alice(Algorithm::Es256, &ec.private, None);
    let error = ask(&keys, &nameless).await.unwrap_err();
    assert!(error == Error::TooManyKeys && error.to_string().contains("`kid`"), "{error}");
    keys.drain(..37);
    assert_eq!(ask(&keys, &nameless).await, Ok(()));
}

#[tokio::test]
async fn what_is_odd_spoils_nothing_else() {
    let (rsa, ec) = (pair(Algorithm::Rs256), pair(Algorithm::Es256));
    let good = jwk(Algorithm::Rs256, &rsa.public, "a");
    let token = alice(Algorithm::Rs256, &rsa.private, Some("a"));
    let odd = [
        json!({ "kty": "RSA", "kid": "a", "x5c": ["MIIB"] }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "a", "pub": "AA" }),
        json!({ "kty": "OKP", "crv": "X25519", "kid": "a", "x": "AA" }),
        json!({ "kty": "EC", "crv": "P-521", "kid": "a", "x": "AA", "y": "AA" }),
        with(good.clone(), "use", "enc"),
        with(good.clone(), "alg", "RSA-OAEP-256"),
        with(good.clone(), "n", "not base64!"),
        with(good.clone(), "key_ops", json!(["encrypt"])),
        json!([]),
        json!(null),
    ];
    for entry in &odd {
        assert_eq!(ask(std::slice::from_ref(entry), &token).await, Err(Error::UnknownKey), "{entry}");
    }
    // One `kid`, several keys: the one that signed is found.
    let namesakes =
        [jwk(Algorithm::Rs256, &rsa_of_another_issuer(), "a"), jwk(Algorithm::Es256, &ec.public, "a")];
    let keys: Vec<Value> = odd.into_iter().chain(namesakes).chain([good]).collect();
    assert_eq!(ask(&keys, &token).await, Ok(()));
    assert_eq!(ask(&keys, &alice(Algorithm::Es256, &ec.private, Some("a"))).await, Ok(()));
}

fn rsa_of_another_issuer() -> String {
    rsa(aws_lc_rs::rsa::KeySize::Rsa2048).public
}

#[tokio::test]
async fn a_set_may_begin_with_a_byte_order_mark() {
    let ec = pair(Algorithm::Es256);
    let endpoint = Endpoint::start(&[]).await;
    endpoint.reply(200, format!("\u{feff}{}", json!({ "keys": [jwk(Algorithm::Es256, &ec.public, "a")] })));
    let token = alice(Algorithm::Es256, &ec.private, Some("a"));
    assert!(bearer(&build(&endpoint.options(LONG)), &token).await.is_ok());
}
