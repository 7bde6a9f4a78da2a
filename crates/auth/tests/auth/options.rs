use std::time::Duration;

use aws_lc_rs::rsa::KeySize;
use tidegate_auth::{
    Algorithm, ApiKey, Authenticator, Claims, JwksOptions, JwtKey, MintError, Options, SigningKey, mint,
};

use crate::support::*;

fn problems(options: &Options) -> Vec<String> {
    Authenticator::new(options).expect_err("invalid options").iter().map(ToString::to_string).collect()
}

fn key_problem(key: JwtKey) -> String {
    problems(&with_keys(vec![key])).join("\n")
}

fn api_key(name: &str, key: &str, publish: &str) -> ApiKey {
    ApiKey {
        name: name.into(),
        key: key.into(),
        publish: vec![publish.into()],
        subscribe: vec![],
        admin: false,
    }
}

#[test]
fn keys_without_any_key_is_a_mistake() {
    let problems = problems(&Options::default());
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("auth.mode: "));
}

#[test]
fn everything_wrong_is_said_at_once() {
    let mut options = with_keys(vec![secret_key(Algorithm::Hs256, ""), secret_key(Algorithm::Rs256, "x")]);
    options.jwt.leeway = Duration::from_secs(4000);
    options.jwt.jwks = Some(JwksOptions::new("ftp://keys.example"));
    options.max_token_bytes = 0;
    options.api_keys = vec![
        api_key("a", "0123456789abcdef0", "**"),
        api_key("a", "0123456789abcdef1", "a**"),
        api_key("b", "0123456789abcdef0", "**"),
        api_key("", "", "**"),
    ];
    let found = problems(&options);
    let settings: Vec<&str> = found.iter().map(|p| p.split_once(": ").unwrap().0).collect();
    assert_eq!(
        settings,
        [
            "auth.jwt.keys[0]",
            "auth.jwt.keys[1]",
            "auth.api_keys[1].name",
            "auth.api_keys[1].publish",
            "auth.api_keys[2].key",
            "auth.api_keys[3].name",
            "auth.api_keys[3].key",
            "auth.jwt.jwks_url",
            "auth.jwt.leeway",
            "auth.max_token_bytes",
        ]
    );
}

#[test]
fn a_key_must_fit_its_algorithm() {
    let rsa_pair = pair(Algorithm::Rs256);
    let (p256, p384) = (pair(Algorithm::Es256), pair(Algorithm::Es384));
    assert!(key_problem(secret_key(Algorithm::Hs256, &rsa_pair.public)).contains("PEM"));
    assert!(key_problem(public_key(Algorithm::Hs256, &rsa_pair.public)).contains("secret"));
    assert!(key_problem(public_key(Algorithm::Rs256, &rsa_pair.private)).contains("private"));
    assert!(key_problem(public_key(Algorithm::Rs256, &p256.public)).contains("not a PEM public key"));
    assert!(key_problem(public_key(Algorithm::EdDsa, &p256.public)).contains("not a PEM public key"));
    assert!(key_problem(public_key(Algorithm::Es256, &p384.public)).contains("curve"));
    assert!(key_problem(public_key(Algorithm::Es384, &p256.public)).contains("curve"));
    assert!(key_problem(public_key(Algorithm::Rs256, "nonsense")).contains("not a PEM public key"));
    assert!(key_problem(public_key(Algorithm::Rs256, &weak_rsa())).contains("2048"));
    let larger = public_key(Algorithm::Ps256, &rsa(KeySize::Rsa3072).public);
    assert!(Authenticator::new(&with_keys(vec![larger])).is_ok());
}

#[test]
fn what_can_be_guessed_is_no_key() {
    for (algorithm, bytes) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        let problem = key_problem(secret_key(algorithm, &SECRET[..bytes - 1]));
        let expected = format!("has {} bytes and {algorithm} needs at least {bytes}", bytes - 1);
        assert!(problem.contains(&expected) && problem.contains("openssl rand"), "{problem}");
        assert!(Authenticator::new(&with_keys(vec![secret_key(algorithm, &SECRET[..bytes])])).is_ok());
    }
    let mut options = hs256();
    options.api_keys.push(api_key("a", &SECRET[..15], "**"));
    let problem = problems(&options).join("\n");
    let expected = "auth.api_keys[0].key: the key has 15 bytes and needs at least 16";
    assert!(problem.starts_with(expected) && problem.contains("openssl rand"), "{problem}");
    options.api_keys = vec![api_key("a", &SECRET[..16], "**")];
    assert!(Authenticator::new(&options).is_ok());
}

/// 1024 bits, which nobody here would make.
fn weak_rsa() -> String {
    "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDEIkfRMsFL89eE22wdq/pOqd/5
mX3dt0H2RTdayZQ92v7NF1dauQu1Ct+u9d+PnjtyPughhQ6idCm6T/faTljlNr/l
ooLz5s3dqbkMaEDloSM5hbuHY5W3a9iAp97mEtAcr3F4K31zhkDKCa7MNuLsVAHa
GCUU62SDd2gMVsQAowIDAQAB
-----END PUBLIC KEY-----
"
    .to_owned()
}

#[test]
fn secrets_stay_out_of_logs() {
    let mut options = hs256();
    options.api_keys.push(api_key("a", "hush-hush-hush-hush", "**"));
    let text = format!("{options:?} {:?}", build(&options));
    assert!(!text.contains(SECRET) && !text.contains("hush"), "{text}");
}

#[test]
fn only_real_keys_sign() {
    let pem = pair(Algorithm::EdDsa);
    assert!(matches!(SigningKey::new(Algorithm::Hs256, &"".into(), None), Err(MintError::Key(_))));
    assert!(matches!(
        SigningKey::new(Algorithm::Es256, &pem.private.as_str().into(), None),
        Err(MintError::Key(_))
    ));
    assert!(matches!(
        SigningKey::new(Algorithm::EdDsa, &pem.public.as_str().into(), None),
        Err(MintError::Key(_))
    ));
    let key = SigningKey::new(Algorithm::Hs256, &SECRET.into(), None).unwrap();
    assert!(matches!(mint(&key, &Claims::for_user("a b", in_an_hour())), Err(MintError::User(_))));
    assert!(!format!("{key:?}").contains(SECRET));
}
