//! Tokens and origins. A line beginning with `{` is a token's header, the next its claims: both are signed with the gateway's own secret, for
//! what is behind the signature is to be read, too. Anything else is a token or an API key as it stands, then `Origin`, then `Host`.

use std::sync::LazyLock;
use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tidegate_auth::{
    ApiKey, Authenticator, Identity, JwtKey, JwtOptions, KeyMaterial, Mode, Options, Origin, Origins,
    Presented,
};
use tidegate_protocol::Topic;

const SECRET: &str = "a secret of at least sixty-four bytes, so that every HMAC length is content";

static KEYED: LazyLock<Authenticator> = LazyLock::new(|| {
    let key = JwtKey {
        algorithm: "HS256".parse().unwrap(),
        kid: None,
        material: KeyMaterial::Secret(SECRET.to_owned().into()),
    };
    let api_key = ApiKey {
        name: "backend".into(),
        key: "0123456789abcdef".to_owned().into(),
        publish: vec!["**".into()],
        subscribe: vec![],
        admin: false,
    };
    Authenticator::new(&Options {
        mode: Mode::Keys,
        jwt: JwtOptions { keys: vec![key], ..JwtOptions::default() },
        api_keys: vec![api_key],
        ..Options::default()
    })
    .unwrap()
});

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.splitn(3, '\n');
    let (first, second, third) = (lines.next().unwrap_or_default(), lines.next(), lines.next());
    if first.starts_with('{') {
        let claims = second.unwrap_or_default();
        let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(first), URL_SAFE_NO_PAD.encode(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
        let token = format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag));
        if let Some(identity) = known(Presented { bearer: Some(&token), ..Presented::default() }) {
            let header: Value = serde_json::from_str(first).unwrap();
            assert_eq!(header["alg"], "HS256");
            check(&identity);
        }
        return;
    }
    let allowed = Origins::parse(&["https://app.example", "https://*.apps.example", "*"]).unwrap();
    let origin = Origin::judge(second, third, &allowed);
    assert_eq!(origin == Origin::Absent, second.is_none());
    if origin == Origin::Same {
        let (origin, host) = (second.unwrap().to_ascii_lowercase(), third.unwrap().to_ascii_lowercase());
        let bare = |name: &str| name.trim_end_matches(":443").trim_end_matches(":80").to_owned();
        assert!(origin.contains(&bare(&host)), "{origin:?} is not {host:?}");
    }
    let presented = [
        Presented { bearer: Some(first), ..Presented::default() },
        Presented { cookie: Some(first), origin, ..Presented::default() },
        Presented { query: Some(first), claimed_user: second, ..Presented::default() },
    ];
    for (way, presented) in presented.into_iter().enumerate() {
        // Nobody signs without the secret; an API key counts in one place only.
        if let Some(identity) = known(presented) {
            assert!(way == 0 && first.trim() == "0123456789abcdef", "{identity:?}");
        }
    }
}

fn known(presented: Presented<'_>) -> Option<Identity> {
    crate::at_once(KEYED.authenticate(&presented)).ok()
}

fn check(identity: &Identity) {
    if let Some(user) = &identity.user {
        assert!(Topic::user(user).is_ok(), "{user:?} is no user");
    }
    assert!(identity.expires_at.is_some_and(|at| at >= SystemTime::now()));
    assert!(!identity.may_publish(&Topic::parse("$probe:x").unwrap()));
}
