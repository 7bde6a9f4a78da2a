//! Tokens that somebody made up, over the wire: the rules themselves are tested with `tidegate-auth`.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use tidegate_testkit::Gateway;
use tidegate_testkit::http::{client, get};

use crate::raw;
use crate::world::{SECRET, keyed, member};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn token(header: &Value, claims: &Value, secret: &str) -> String {
    text(&header.to_string(), &claims.to_string(), secret)
}

fn text(header: &str, claims: &str, secret: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    let answer = client()
        .get(gateway.url("/v1/poll?topic=user:alice&timeout=0"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_refused() {
    let gateway = keyed(
        &[],
        &[
            ("TIDEGATE_AUTH__JWT__AUDIENCE", r#"["tidegate"]"#),
            ("TIDEGATE_AUTH__JWT__ISSUER", r#"["https://login.example"]"#),
        ],
    )
    .await;
    let hs = json!({"alg": "HS256"});
    let good = json!({"sub": "alice", "exp": now() + 600, "aud": "tidegate", "iss": "https://login.example"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        token(&hs, &claims, SECRET)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        token(&hs, &claims, SECRET)
    };
    let right = token(&hs, &good, SECRET);
    assert_eq!(status(&gateway, &right).await, 200);
    assert_eq!(
        status(&gateway, &token(&json!({"alg": "HS256", "kid": "any"}), &good, SECRET)).await,
        200,
        "the only key has no id"
    );
    let unsigned = |alg: &str| {
        let whole = token(&json!({"alg": alg, "typ": "JWT"}), &good, SECRET);
        format!("{}.", whole.rsplit_once('.').unwrap().0)
    };
    let (start, signature) = right.rsplit_once('.').unwrap();
    let claims_text = good.to_string();
    let refused = [
        unsigned("none"),
        unsigned("None"),
        unsigned("NONE"),
        unsigned("HS256"),
        token(&json!({"alg": "RS256"}), &good, SECRET),
        token(&json!({"alg": "HS512"}), &good, SECRET),
        token(&json!({"alg": ["HS256"]}), &good, SECRET),
        token(&json!({"alg": null}), &good, SECRET),
        token(&json!({}), &good, SECRET),
        text(r#"{"alg":"HS256","alg":"none"}"#, &claims_text, SECRET),
        text(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, &claims_text, SECRET),
        text(r#"{"alg":"HS256","crit":[]}"#, &claims_text, SECRET),
        token(&hs, &good, ""),
        token(&hs, &good, "secret"),
        token(&json!({"alg": "HS256", "kid": "../../../../dev/null"}), &good, ""),
        token(&json!({"alg": "HS256", "kid": "' UNION SELECT 'x"}), &good, "x"),
        token(&json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "eA"}}), &good, "x"),
        token(
            &json!({"alg": "HS256", "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/"}),
            &good,
            "x",
        ),
        with("exp", json!(now() - 3600)),
        with("exp", json!("never")),
        with("exp", json!(1e300)),
        with("exp", json!(-1)),
        with("exp", json!(null)),
        without("exp"),
        with("nbf", json!(now() + 3600)),
        with("nbf", json!("soon")),
        with("aud", json!("another")),
        with("aud", json!([])),
        with("aud", json!({"tidegate": true})),
        without("aud"),
        with("iss", json!("https://evil.example")),
        without("iss"),
        with("sub", json!("a b")),
        with("sub", json!("alice\n")),
        with("sub", json!("")),
        with("sub", json!(["alice"])),
        with("sub", json!({"a": 1})),
        with("tidegate", json!({"admin": "yes"})),
        with("tidegate", json!({"subscribe": "**"})),
        with("tidegate", json!({"subscribe": ["a\nb"]})),
        text(r#"{"alg":"HS256"}"#, &claims_text.replace('}', r#","sub":"mallory"}"#), SECRET),
        format!("{start}.{signature}."),
        format!("{start}..{signature}"),
        format!(".{right}"),
        format!("{start}.{}", signature.to_ascii_uppercase()),
        format!("{start}.{signature}="),
        format!("{start}.{}", &signature[..signature.len() - 1]),
        "a".repeat(20_000),
        format!("{}.{}.{}", "a".repeat(9_000), "b", "c"),
        "..".into(),
        ".".into(),
    ];
    for (n, token) in refused.iter().enumerate() {
        assert_eq!(status(&gateway, token).await, 401, "{n}: {token}");
    }
    // The same tokens elsewhere: in the URL, in the cookie.
    for token in refused.iter().filter(|token| token.len() < 8_000) {
        assert_eq!(
            get(&gateway.url(&format!("/v1/poll?topic=user:alice&timeout=0&access_token={token}")))
                .await
                .status,
            401
        );
        let cookie = client()
            .get(gateway.url("/v1/poll?topic=user:alice"))
            .header("cookie", format!("tidegate_token={token}"));
        assert_eq!(cookie.send().await.unwrap().status(), 401);
    }
}

/// A wrong credential does not become none, and a second one does not count.
#[tokio::test]
async fn of_two_credentials_the_first_counts() {
    let gateway = keyed(&[], &[]).await;
    let alice = member("alice");
    let ask = |headers: String| {
        let head = format!(
            "GET /v1/poll?topic=user:alice&timeout=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n\r\n"
        );
        let addr = gateway.addr();
        async move { raw::status(&raw::ask(addr, head.as_bytes()).await) }
    };
    assert_eq!(ask(format!("Authorization: Bearer {alice}")).await, 200);
    assert_eq!(ask(format!("Authorization: Bearer x\r\nCookie: tidegate_token={alice}")).await, 401);
    assert_eq!(ask(format!("Authorization: Bearer x\r\nAuthorization: Bearer {alice}")).await, 401);
    assert_eq!(ask(format!("Cookie: tidegate_token=x; tidegate_token={alice}")).await, 401);
    assert_eq!(ask(format!("Cookie: xtidegate_token={alice}; TIDEGATE_TOKEN={alice}")).await, 401);
    assert_eq!(ask(format!("Authorization: Basic {alice}")).await, 401);
}
