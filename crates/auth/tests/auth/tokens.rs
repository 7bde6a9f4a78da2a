use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::json;
use tidegate_auth::{Algorithm, Claims, Error, JwtKey, Presented, SigningKey, mint};
use tidegate_protocol::{Pattern, Topic};

use crate::support::*;

async fn refused(token: &str) -> Error {
    bearer(&build(&hs256()), token).await.expect_err("a refusal")
}

#[tokio::test]
async fn every_algorithm_is_accepted_with_its_own_key() {
    for algorithm in Algorithm::ALL {
        let (signing, verifying) = if algorithm.is_symmetric() {
            (SECRET.to_owned(), secret_key(algorithm, SECRET))
        } else {
            let pair = pair(algorithm);
            (pair.private, public_key(algorithm, &pair.public))
        };
        let authenticator = build(&with_keys(vec![verifying]));
        let identity = bearer(&authenticator, &alice(algorithm, &signing, None)).await;
        let identity = identity.unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        assert_eq!(identity.user.as_deref(), Some("alice"), "{algorithm}");
    }
}

#[tokio::test]
async fn a_minted_token_says_what_it_was_told_to() {
    let key = SigningKey::new(Algorithm::Hs256, &SECRET.into(), None).unwrap();
    let exp = UNIX_EPOCH + Duration::from_secs(u64::try_from(at(600)).unwrap());
    let claims = Claims {
        subscribe: vec![Pattern::parse("room:*").unwrap()],
        publish: vec![Pattern::parse("room:1").unwrap()],
        admin: true,
        ..Claims::for_user("alice", exp)
    };
    let identity = bearer(&build(&hs256()), &mint(&key, &claims).unwrap()).await.unwrap();
    let topic = |name| Topic::parse(name).unwrap();
    assert!(identity.may_subscribe(&topic("room:2")) && !identity.may_publish(&topic("room:2")));
    assert!(identity.may_publish(&topic("room:1")) && identity.may_subscribe(&topic("user:alice")));
    assert!(identity.admin);
    assert_eq!(identity.expires_at, Some(exp));
    assert_eq!(&*identity.label, "user:alice");
}

#[tokio::test]
async fn a_token_without_subject_or_grants_is_nobody_with_nothing() {
    let identity = bearer(&build(&hs256()), &token(&json!({ "exp": at(60) }))).await.unwrap();
    assert_eq!((identity.user, identity.admin), (None, false));
    assert!(!identity.grants.subscribe.iter().any(|_| true));
}

#[tokio::test]
async fn tokens_without_subject_are_told_apart_by_key_issuer_and_client() {
    let other = "another secret of a sufficient length";
    let authenticator =
        build(&with_keys(vec![secret_key(Algorithm::Hs256, SECRET), secret_key(Algorithm::Hs256, other)]));
    let label = async |mut claims: serde_json::Value, secret: &str| {
        claims["exp"] = json!(at(60));
        let token = sign(&json!({ "alg": "HS256" }), &claims, secret.as_bytes());
        bearer(&authenticator, &token).await.unwrap().label
    };
    let different = [
        json!({}),
        json!({ "iss": "" }),
        json!({ "iss": "a" }),
        json!({ "client_id": "a" }),
        json!({ "iss": "a", "client_id": "bc" }),
        json!({ "iss": "ab", "client_id": "c" }),
        json!({ "iss": "a", "client_id": "b\n" }),
        json!({ "iss": "a\",\"b", "azp": "c" }),
        json!({ "iss": "a", "azp": "b\",\"c" }),
        json!({ "client_id": "user:alice" }),
        json!({ "client_id": 7 }),
        json!({ "client_id": "7" }),
        json!({ "sub": "token" }),
    ];
    let mut seen = std::collections::HashSet::new();
    for claims in different {
        let mine = label(claims.clone(), SECRET).await;
        assert!(!mine.chars().any(char::is_control), "{mine}");
        assert!(seen.insert(mine), "{claims}");
        // A user is a user, whoever signed.
        let theirs = label(claims.clone(), other).await;
        assert_eq!(seen.insert(theirs), claims["sub"].is_null(), "{claims}");
    }
    let of = async |claims| label(claims, SECRET).await;
    let named = of(json!({ "iss": "a", "client_id": "shop" })).await;
    assert_eq!(named, of(json!({ "iss": "a", "client_id": "shop", "azp": "x", "jti": "1" })).await);
    assert_eq!(named, of(json!({ "iss": "a", "azp": "shop" })).await, "azp is the older name");
    let turned = build(&with_keys(vec![
        secret_key(Algorithm::Hs256, other),
        JwtKey { kid: Some("k".into()), ..secret_key(Algorithm::Hs256, SECRET) },
    ]));
    let token = token(&json!({ "exp": at(60), "iss": "a", "client_id": "shop" }));
    assert_eq!(bearer(&turned, &token).await.unwrap().label, named, "whatever the key's place and name");
}

#[tokio::test]
async fn no_token_chooses_its_own_algorithm() {
    let claims = json!({ "sub": "mallory", "exp": at(60) });
    for none in ["none", "None", "NONE", "HS1", "RS512", ""] {
        assert_eq!(
            refused(&token_with(&json!({ "alg": none }), &claims)).await,
            Error::WrongAlgorithm,
            "{none}"
        );
    }
    let unsigned = token_with(&json!({ "alg": "none" }), &claims);
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    assert_eq!(refused(&unsigned).await, Error::WrongAlgorithm);

    // The public key, which everybody has, used as an HMAC secret.
    let pair = pair(Algorithm::Rs256);
    let authenticator = build(&with_keys(vec![public_key(Algorithm::Rs256, &pair.public)]));
    let forged = sign(&json!({ "alg": "HS256" }), &claims, pair.public.as_bytes());
    assert_eq!(bearer(&authenticator, &forged).await.unwrap_err(), Error::WrongAlgorithm);
    let pss = alice(Algorithm::Ps256, &pair.private, None);
    assert_eq!(bearer(&authenticator, &pss).await.unwrap_err(), Error::WrongAlgorithm);
    let hs512 = alice(Algorithm::Hs512, SECRET, None);
    assert_eq!(refused(&hs512).await, Error::WrongAlgorithm);
}

#[tokio::test]
async fn a_signature_must_be_the_keys() {
    let good = token(&json!({ "sub": "alice", "exp": at(60) }));
    assert_eq!(
        refused(&alice(Algorithm::Hs256, "another secret of a good length", None)).await,
        Error::BadSignature
    );
    let (message, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(refused(&format!("{message}.{}", &signature[..20])).await, Error::BadSignature);
    assert_eq!(refused(&format!("{message}.")).await, Error::BadSignature);
    let other = token(&json!({ "sub": "root", "exp": at(60) }));
    let (other, _) = other.rsplit_once('.').unwrap();
    assert_eq!(refused(&format!("{other}.{signature}")).await, Error::BadSignature);
}

#[tokio::test]
async fn a_kid_picks_the_key() {
    let named =
        |kid: &str, secret: &str| JwtKey { kid: Some(kid.into()), ..secret_key(Algorithm::Hs256, secret) };
    let (old, new) = ("an old secret of a sufficient length", "a new secret of a sufficient length");
    let authenticator = build(&with_keys(vec![named("old", old), named("new", new)]));
    let ask =
        async |secret, kid| bearer(&authenticator, &alice(Algorithm::Hs256, secret, kid)).await.map(|_| ());
    assert_eq!(ask(new, Some("new")).await, Ok(()));
    assert_eq!(ask(new, Some("old")).await, Err(Error::BadSignature));
    assert_eq!(ask(new, Some("lost")).await, Err(Error::UnknownKey));
    assert_eq!(ask(new, None).await, Ok(()), "without a kid every key is tried");

    // A key without a name answers to any name.
    let nameless = build(&with_keys(vec![named("old", old), secret_key(Algorithm::Hs256, new)]));
    assert!(bearer(&nameless, &alice(Algorithm::Hs256, new, Some("lost"))).await.is_ok());
    assert_eq!(
        bearer(&nameless, &alice(Algorithm::Hs256, old, Some("lost"))).await.unwrap_err(),
        Error::UnknownKey
    );
}

#[tokio::test]
async fn times_are_kept() {
    assert_eq!(refused(&token(&json!({ "exp": at(-1) }))).await, Error::Expired);
    assert_eq!(refused(&token(&json!({ "exp": at(0) }))).await, Error::Expired, "`exp` itself is over");
    assert_eq!(refused(&token(&json!({ "exp": at(60), "nbf": at(30) }))).await, Error::NotYetValid);
    let said = refused(&token(&json!({ "sub": "alice" }))).await.to_string();
    assert!(said.contains("`exp` is missing"), "{said}");
    for exp in [json!("tomorrow"), json!(-1), json!(1e300), json!(u64::MAX), json!([])] {
        let error = refused(&token(&json!({ "exp": exp }))).await;
        let said = error.to_string();
        assert!(
            matches!(error, Error::BadClaims(_)) && said.contains("`exp` is not a time"),
            "{exp}: {said}"
        );
    }
    assert!(matches!(refused(&token(&json!({ "exp": null }))).await, Error::BadClaims(_)));
}

#[tokio::test]
async fn leeway_moves_both_ends_and_the_end_of_the_stream() {
    let mut options = hs256();
    options.jwt.leeway = Duration::from_secs(60);
    let authenticator = build(&options);
    let exp = at(-30);
    let late = bearer(&authenticator, &token(&json!({ "exp": exp }))).await.unwrap();
    let end = UNIX_EPOCH + Duration::from_secs(u64::try_from(exp + 60).unwrap());
    assert_eq!(late.expires_at, Some(end));
    assert!(bearer(&authenticator, &token(&json!({ "exp": at(90), "nbf": at(30) }))).await.is_ok());
    assert_eq!(bearer(&authenticator, &token(&json!({ "exp": at(-61) }))).await.unwrap_err(), Error::Expired);
}

#[tokio::test]
async fn audience_and_issuer_are_required_once_configured() {
    let mut options = hs256();
    options.jwt.audience = vec!["tidegate".into(), "gate".into()];
    options.jwt.issuer = vec!["https://login.example".into()];
    let authenticator = build(&options);
    let ask = async |aud: serde_json::Value, iss: serde_json::Value| {
        let claims = json!({ "exp": at(60), "aud": aud, "iss": iss });
        bearer(&authenticator, &token(&claims)).await.map(|_| ())
    };
    let login = || json!("https://login.example");
    assert_eq!(ask(json!("gate"), login()).await, Ok(()));
    assert_eq!(ask(json!(["shop", "tidegate"]), login()).await, Ok(()));
    for aud in [json!("shop"), json!(["shop"]), json!([]), json!(7), json!(null)] {
        assert_eq!(ask(aud.clone(), login()).await, Err(Error::WrongAudience), "{aud}");
    }
    for iss in [json!("https://login.example.evil"), json!(7), json!(null)] {
        assert_eq!(ask(json!("gate"), iss.clone()).await, Err(Error::WrongIssuer), "{iss}");
    }
    // Without the setting, a token may name any audience.
    assert!(bearer(&build(&hs256()), &token(&json!({ "exp": at(60), "aud": "shop" }))).await.is_ok());
}

#[tokio::test]
async fn claims_must_make_sense() {
    let cases = [
        (json!({ "tidegate": { "subscribe": ["room:a**"] } }), "a**"),
        (json!({ "tidegate": { "publish": ["ok", "not ok"] } }), "publish"),
        (json!({ "tidegate": { "subscribe": "room:1" } }), "`tidegate.subscribe`"),
        (json!({ "tidegate": { "subscribe": "room:1" } }), "sequence"),
        (json!({ "tidegate": { "admin": "yes" } }), "`tidegate.admin`"),
        (json!({ "tidegate": ["room:1"] }), "`tidegate` must be an object"),
        (json!({ "nbf": "now" }), "`nbf` is not a time"),
        (json!({ "sub": "" }), "sub"),
        (json!({ "sub": "two words" }), "sub"),
        (json!({ "sub": "x".repeat(300) }), "sub"),
        (json!({ "sub": 7 }), "`sub` must be a string"),
        (json!({ "sub": ["alice"] }), "`sub` must be a string"),
    ];
    for (mut claims, hint) in cases {
        claims["exp"] = json!(at(60));
        let error = refused(&token(&claims)).await;
        assert_eq!(error.code(), "bad_claims");
        assert!(error.to_string().contains(hint), "{claims}: {error}");
    }
    let list = token(&json!([null, at(60)]));
    assert!(refused(&list).await.to_string().contains("not a JSON object"));
}

#[tokio::test]
async fn garbage_is_malformed() {
    let good = token(&json!({ "exp": at(60) }));
    let critical = |crit| token_with(&json!({ "alg": "HS256", "crit": crit }), &json!({ "exp": at(60) }));
    let [critical, no_list] = [json!(["exp"]), json!(null)].map(critical);
    let padded = format!("{good}=");
    let list = sign(&json!(["HS256", null, null]), &json!({ "exp": at(60) }), SECRET.as_bytes());
    let more = format!("{good}.x");
    for text in
        ["x", "a.b", "a.b.c", "....", "e30.e30.", "🦀.🦀.🦀", &more, &critical, &no_list, &padded, &list]
    {
        assert_eq!(refused(text).await, Error::Malformed, "{text}");
    }
}

#[tokio::test]
async fn a_long_credential_is_not_looked_at() {
    let mut options = hs256();
    options.max_token_bytes = 100;
    let long = token(&json!({ "exp": at(60), "sub": "alice" }));
    let error = bearer(&build(&options), &long).await.unwrap_err();
    assert_eq!(error, Error::TooLarge { size: long.len(), limit: 100 });
}

#[tokio::test]
async fn messages_never_show_the_token() {
    let token = token(&json!({ "exp": at(-60), "sub": "alice" }));
    let presented = Presented { bearer: Some(&token), ..Presented::default() };
    let error = build(&hs256()).authenticate(&presented).await.unwrap_err();
    for part in token.split('.') {
        assert!(!format!("{error} {error:?} {presented:?}").contains(part));
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in ".{0,200}", header in ".{0,60}", claims in ".{0,100}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let authenticator = build(&hs256());
        let encode = |part: &str| {
            use base64::Engine;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part)
        };
        let nearly = format!("{}.{}.{}", encode(&header), encode(&claims), encode(&text));
        let signed = format!("{}.{}.{}", encode(r#"{"alg":"HS256"}"#), encode(&claims), encode(&text));
        for token in [&text, &nearly, &signed] {
            prop_assert!(runtime.block_on(bearer(&authenticator, token)).is_err());
        }
    }

    #[test]
    fn signed_nonsense_is_refused_politely(exp in any::<f64>(), sub in ".{0,20}", pattern in ".{0,20}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let claims = json!({ "exp": exp, "sub": sub, "tidegate": { "subscribe": [pattern] } });
        let _ = runtime.block_on(bearer(&build(&hs256()), &token(&claims)));
    }
}
