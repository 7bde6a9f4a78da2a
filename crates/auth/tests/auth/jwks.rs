use std::time::Duration;

use serde_json::{Value, json};
use tidegate_auth::{Algorithm, Authenticator, Error};

use crate::support::*;

const LONG: Duration = Duration::from_secs(3600);

/// A key pair as an issuer has it: the entry in the set, and a token that it signed.
fn issuer(kid: &str) -> (Value, String) {
    let pair = pair(Algorithm::Es256);
    (jwk(Algorithm::Es256, &pair.public, kid), alice(Algorithm::Es256, &pair.private, Some(kid)))
}

/// Keeps the set fresh until dropped, as the binary does.
struct Running(tokio::task::JoinHandle<()>);

impl Running {
    fn start(authenticator: &Authenticator) -> Self {
        let authenticator = authenticator.clone();
        Self(tokio::spawn(async move { authenticator.run().await }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn the_set_is_fetched_in_the_background() {
    let (key, token) = issuer("a");
    let mut endpoint = Endpoint::start(&[key]).await;
    let authenticator = build(&endpoint.options(LONG));
    let _running = Running::start(&authenticator);
    endpoint.requests.recv().await.unwrap();
    assert!(bearer(&authenticator, &token).await.is_ok(), "waits for the fetch under way");
    assert_eq!(endpoint.hits(), 1);
}

#[tokio::test]
async fn an_unknown_kid_makes_the_set_be_fetched_again() {
    let ((first, first_token), (second, second_token)) = (issuer("a"), issuer("b"));
    let endpoint = Endpoint::start(std::slice::from_ref(&first)).await;
    let authenticator = build(&endpoint.options(Duration::ZERO));
    assert!(bearer(&authenticator, &first_token).await.is_ok());
    assert_eq!(bearer(&authenticator, &second_token).await.unwrap_err(), Error::UnknownKey);
    assert_eq!(endpoint.hits(), 2);
    endpoint.serve(&[first, second]);
    assert!(bearer(&authenticator, &second_token).await.is_ok());
    assert!(bearer(&authenticator, &first_token).await.is_ok());
    assert_eq!(endpoint.hits(), 3, "a known kid asks nobody");
}

#[tokio::test]
async fn the_cooldown_spares_the_issuer() {
    let ((first, first_token), (_, stranger)) = (issuer("a"), issuer("b"));
    let endpoint = Endpoint::start(&[first]).await;
    let authenticator = build(&endpoint.options(LONG));
    assert!(bearer(&authenticator, &first_token).await.is_ok());
    for _ in 0..5 {
        assert_eq!(bearer(&authenticator, &stranger).await.unwrap_err(), Error::UnknownKey);
    }
    assert_eq!(endpoint.hits(), 1);
}

type Ask = tokio::task::JoinHandle<Result<(), Error>>;

/// One who has made the endpoint be asked, and eight who came while it is.
async fn crowd(endpoint: &mut Endpoint, authenticator: &Authenticator, token: &str) -> (Ask, Vec<Ask>) {
    let ask = || {
        let (authenticator, token) = (authenticator.clone(), token.to_owned());
        tokio::spawn(async move { bearer(&authenticator, &token).await.map(|_| ()) })
    };
    let first = ask();
    endpoint.requests.recv().await.unwrap();
    let others = (0..8).map(|_| ask()).collect();
    tokio::task::yield_now().await;
    (first, others)
}

#[tokio::test]
async fn many_wait_for_one_fetch_and_none_can_spoil_it() {
    let (key, token) = issuer("a");
    let mut endpoint = Endpoint::start(&[key]).await;
    endpoint.hold();
    let authenticator = build(&endpoint.options(LONG));
    let (first, others) = crowd(&mut endpoint, &authenticator, &token).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    endpoint.release();
    for other in others {
        assert_eq!(other.await.unwrap(), Ok(()));
    }
    assert_eq!(endpoint.hits(), 1);
}

#[tokio::test]
async fn many_wait_for_one_failure() {
    let (_, token) = issuer("a");
    let mut endpoint = Endpoint::start(&[]).await;
    endpoint.reply(500, "");
    endpoint.hold();
    let authenticator = build(&endpoint.options(LONG));
    let (first, others) = crowd(&mut endpoint, &authenticator, &token).await;
    endpoint.release();
    for task in others.into_iter().chain([first]) {
        assert_eq!(task.await.unwrap(), Err(Error::KeysUnavailable));
    }
    assert_eq!(endpoint.hits(), 1);
}

#[tokio::test]
async fn an_endpoint_in_trouble_keeps_the_old_keys() {
    let ((first, first_token), (_, stranger)) = (issuer("a"), issuer("b"));
    let endpoint = Endpoint::start(&[first]).await;
    let authenticator = build(&endpoint.options(Duration::ZERO));
    assert!(bearer(&authenticator, &first_token).await.is_ok());
    let huge = format!(r#"{{"keys":[],"padding":"{}"}}"#, "x".repeat(300 << 10));
    for (status, body) in [(500, "{}"), (200, "<html>"), (200, r#"{"keys":7}"#), (200, &huge)] {
        endpoint.reply(status, body);
        let hits = endpoint.hits();
        assert_eq!(bearer(&authenticator, &stranger).await.unwrap_err(), Error::UnknownKey);
        assert_eq!(endpoint.hits(), hits + 1);
        assert!(bearer(&authenticator, &first_token).await.is_ok());
    }
}

#[tokio::test]
async fn a_set_that_was_never_there_is_no_verdict() {
    let (_, token) = issuer("a");
    let endpoint = Endpoint::start(&[]).await;
    endpoint.reply(503, "");
    let mut options = endpoint.options(LONG);
    options.jwt.keys.push(secret_key(Algorithm::Hs256, SECRET));
    let authenticator = build(&options);
    for _ in 0..2 {
        let error = bearer(&authenticator, &token).await.unwrap_err();
        assert!(error == Error::KeysUnavailable && error.is_temporary());
    }
    assert_eq!(endpoint.hits(), 1);
    assert!(
        bearer(&authenticator, &alice(Algorithm::Hs256, SECRET, None)).await.is_ok(),
        "static keys go on"
    );
}

#[tokio::test]
async fn only_keys_that_verify_are_taken() {
    let rsa = pair(Algorithm::Rs256);
    let unnamed = |kid: &str| {
        let mut key = jwk(Algorithm::Rs256, &rsa.public, kid);
        key.as_object_mut().unwrap().remove("alg");
        key
    };
    let with = |mut key: Value, field: &str, value: Value| {
        key[field] = value;
        key
    };
    let secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
    let endpoint = Endpoint::start(&[
        json!({ "kty": "oct", "kid": "shared", "alg": "HS256", "k": secret }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "odd" }),
        json!({ "kid": 7 }),
        json!("not a key"),
        with(unnamed("encryption"), "use", json!("enc")),
        with(unnamed("confused"), "alg", json!("HS256")),
        unnamed("both"),
        jwk(Algorithm::Rs256, &rsa.public, "rs"),
    ])
    .await;
    let authenticator = build(&endpoint.options(LONG));
    let ask = async |algorithm, key: &str, kid| {
        bearer(&authenticator, &alice(algorithm, key, Some(kid))).await.map(|_| ())
    };
    assert_eq!(ask(Algorithm::Rs256, &rsa.private, "both").await, Ok(()));
    assert_eq!(ask(Algorithm::Ps256, &rsa.private, "both").await, Ok(()));
    assert_eq!(ask(Algorithm::Rs256, &rsa.private, "rs").await, Ok(()));
    assert_eq!(ask(Algorithm::Ps256, &rsa.private, "rs").await, Err(Error::WrongAlgorithm));
    assert_eq!(ask(Algorithm::Rs256, &rsa.private, "encryption").await, Err(Error::UnknownKey));
    assert_eq!(ask(Algorithm::Hs256, &rsa.public, "confused").await, Err(Error::UnknownKey));
    assert_eq!(
        ask(Algorithm::Hs256, "0123456789abcdef0123456789abcdef", "shared").await,
        Err(Error::UnknownKey)
    );
}

#[tokio::test]
async fn a_set_may_hold_ed25519_and_a_token_no_kid() {
    let pair = pair(Algorithm::EdDsa);
    let endpoint = Endpoint::start(&[jwk(Algorithm::EdDsa, &pair.public, "ed")]).await;
    let authenticator = build(&endpoint.options(LONG));
    assert!(bearer(&authenticator, &alice(Algorithm::EdDsa, &pair.private, None)).await.is_ok());
}
