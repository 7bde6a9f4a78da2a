use serde_json::json;
use tidegate_auth::{Error, Mode, Options, Origin, Origins, Presented, Source};
use tidegate_protocol::Topic;

use crate::support::*;

fn all() -> Presented<'static> {
    Presented { bearer: Some("b"), cookie: Some("c"), query: Some("q"), ..Presented::default() }
}

fn chosen(presented: &Presented<'static>) -> Option<(&'static str, Source)> {
    presented.credential().unwrap().map(|credential| (credential.text, credential.source))
}

#[test]
fn header_before_cookie_before_query() {
    assert_eq!(chosen(&all()), Some(("b", Source::Header)));
    assert_eq!(chosen(&Presented { bearer: None, ..all() }), Some(("c", Source::Cookie)));
    assert_eq!(
        chosen(&Presented { bearer: Some(" "), cookie: Some(""), ..all() }),
        Some(("q", Source::Query))
    );
    assert_eq!(chosen(&Presented::default()), None);
}

#[test]
fn a_strangers_page_gets_nothing_from_the_cookie() {
    let foreign = Presented { origin: Origin::Foreign, ..all() };
    assert_eq!(chosen(&foreign), Some(("b", Source::Header)));
    assert_eq!(chosen(&Presented { bearer: None, ..foreign }), Some(("q", Source::Query)));
    let only_cookie = Presented { bearer: None, query: None, ..foreign };
    assert_eq!(only_cookie.credential().unwrap_err(), Error::ForeignOrigin);
    for origin in [Origin::Absent, Origin::Same, Origin::Allowed] {
        assert_eq!(chosen(&Presented { origin, ..only_cookie }), Some(("c", Source::Cookie)));
    }
}

#[test]
fn origins_are_judged() {
    let allowed = Origins::parse(&["https://app.example", "https://*.apps.example", "*"]).unwrap();
    let judge = |origin: &str, host: &str| Origin::judge(Some(origin), Some(host), &allowed);
    assert_eq!(Origin::judge(None, Some("gate.example"), &allowed), Origin::Absent);
    assert_eq!(judge("https://app.example", "gate.example"), Origin::Allowed);
    assert_eq!(judge("https://shop.apps.example", "gate.example"), Origin::Allowed);
    assert_eq!(judge("https://gate.example", "Gate.example:443"), Origin::Same);
    assert_eq!(judge("http://localhost:8080", "localhost:8080"), Origin::Same);
    for (origin, host) in [
        ("https://evil.example", "gate.example"),
        ("http://localhost:3000", "localhost:8080"),
        ("https://app.example.evil", "gate.example"),
        ("http://app.example", "gate.example"),
        ("null", "gate.example"),
        ("", ""),
        ("https://", ""),
    ] {
        assert_eq!(judge(origin, host), Origin::Foreign, "{origin} at {host}");
    }
    assert_eq!(Origin::judge(Some("https://gate.example"), None, &allowed), Origin::Foreign);
}

#[tokio::test]
async fn nothing_presented_is_missing() {
    let error = build(&hs256()).authenticate(&Presented::default()).await.unwrap_err();
    assert_eq!((error.clone(), error.code()), (Error::Missing, "missing"));
    let claim = Presented { claimed_user: Some("alice"), ..Presented::default() };
    assert_eq!(build(&hs256()).authenticate(&claim).await.unwrap_err(), Error::Missing);
}

#[tokio::test]
async fn an_open_gateway_lets_everybody_in() {
    let open = build(&Options { mode: Mode::Open, ..Options::default() });
    let anybody = open.authenticate(&all()).await.unwrap();
    let news = Topic::parse("news").unwrap();
    assert!(anybody.may_publish(&news) && anybody.may_subscribe(&news) && anybody.admin);
    assert_eq!(&*anybody.label, "open");
    let claim = |user| Presented { claimed_user: Some(user), ..Presented::default() };
    assert_eq!(&*open.authenticate(&claim("bob")).await.unwrap().label, "user:bob");
    assert_eq!(open.authenticate(&claim("b ob")).await.unwrap_err().code(), "bad_claims");
}

#[tokio::test]
async fn an_open_gateway_with_keys_still_reads_tokens() {
    let open = build(&Options { mode: Mode::Open, ..hs256() });
    let alice = bearer(&open, &token(&json!({ "exp": at(60), "sub": "alice" }))).await.unwrap();
    assert!(alice.may_publish(&Topic::parse("news").unwrap()));
    assert!(alice.expires_at.is_some() && alice.user.as_deref() == Some("alice"));
    assert_eq!(bearer(&open, &token(&json!({ "exp": at(-60) }))).await.unwrap_err(), Error::Expired);
    assert_eq!(&*open.authenticate(&Presented::default()).await.unwrap().label, "open");
}
