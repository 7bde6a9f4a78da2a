use serde_json::json;
use tidegate_auth::{ApiKey, Error, Options, Presented};
use tidegate_protocol::Topic;

use crate::support::*;

const KEY: &str = "tg_backend_3f9c2b7d1e5a4c6f";

fn keys() -> Options {
    let key = |name: &str, key: &str, admin| ApiKey {
        name: name.into(),
        key: key.into(),
        publish: vec!["room:**".into()],
        subscribe: vec![],
        admin,
    };
    let api_keys = vec![key("backend", KEY, true), key("dots", "tg.with.dots.0123456789", false)];
    Options { api_keys, ..Options::default() }
}

#[tokio::test]
async fn a_backend_publishes_with_its_key() {
    let identity = bearer(&build(&keys()), KEY).await.unwrap();
    let room = Topic::parse("room:1").unwrap();
    assert!(identity.may_publish(&room) && !identity.may_subscribe(&room));
    assert!(identity.admin && identity.user.is_none() && identity.expires_at.is_none());
    assert_eq!(&*identity.label, "key:backend");
    let dots = bearer(&build(&keys()), "tg.with.dots.0123456789").await.unwrap();
    assert_eq!((&*dots.label, dots.admin), ("key:dots", false));
}

#[tokio::test]
async fn another_key_is_unknown() {
    let both = Options { api_keys: keys().api_keys, ..hs256() };
    for authenticator in [build(&keys()), build(&both)] {
        for wrong in ["x", &KEY[1..], &KEY.to_uppercase(), &format!("{KEY}0")] {
            assert_eq!(bearer(&authenticator, wrong).await.unwrap_err(), Error::UnknownKey);
        }
    }
    let token = token(&json!({ "exp": at(60) }));
    assert_eq!(bearer(&build(&keys()), &token).await.unwrap_err(), Error::UnknownKey);
    assert!(bearer(&build(&both), &token).await.is_ok());
}

#[tokio::test]
async fn a_key_counts_in_the_header_only() {
    let authenticator = build(&keys());
    for presented in [
        Presented { query: Some(KEY), ..Presented::default() },
        Presented { cookie: Some(KEY), ..Presented::default() },
    ] {
        assert_eq!(authenticator.authenticate(&presented).await.unwrap_err(), Error::UnknownKey);
    }
}
