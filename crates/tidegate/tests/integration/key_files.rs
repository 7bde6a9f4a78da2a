//! Keys in files as other systems' editors, shells and libraries write them.

use std::fs;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use tidegate_auth::{Algorithm, Claims, Secret, SigningKey, mint};
use tidegate_testkit::Gateway;
use tidegate_testkit::http::publish_as;

use crate::{outcome, tidegate};

const API_KEY: &str = "an-api-key-out-of-a-file-0123456789";

/// As a Windows editor saves it.
fn dressed(text: &str) -> String {
    format!("\u{feff}{}", text.replace('\n', "\r\n"))
}

fn token(algorithm: Algorithm, key: impl Into<Secret>) -> String {
    let hour = SystemTime::now() + Duration::from_secs(3_600);
    let claims = Claims { admin: true, ..Claims::for_user("alice", hour) };
    let claims = Claims { publish: vec![tidegate_protocol::Pattern::parse("**").unwrap()], ..claims };
    mint(&SigningKey::new(algorithm, &key.into(), None).unwrap(), &claims).unwrap()
}

#[tokio::test]
async fn keys_are_read_as_other_systems_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    // Not UTF-8, and with bytes at its ends that a text would lose.
    let raw: Vec<u8> = [&b"\xef\xbb\xbf"[..], &[0x80; 32], b"\r\n"].concat();
    let decoded = vec![0xf7; 32];
    let shared = "a secret of more than thirty-two bytes";
    let pair = rcgen::KeyPair::generate().unwrap();
    fs::write(path("raw"), &raw).unwrap();
    fs::write(path("secret"), dressed(&format!("{shared}\n"))).unwrap();
    fs::write(path("public.pem"), dressed(&pair.public_key_pem())).unwrap();
    fs::write(path("api-key"), dressed(&format!("{API_KEY}\n"))).unwrap();
    let config = format!(
        "[auth]\nmode = \"keys\"\n
        [[auth.jwt.keys]]\nsecret_file = {:?}\n
        [[auth.jwt.keys]]\nsecret_file = {:?}\n
        [[auth.jwt.keys]]\nsecret_base64 = {:?}\n
        [[auth.jwt.keys]]\nsecret_base64 = {:?}\n
        [[auth.jwt.keys]]\nalg = \"ES256\"\npublic_key_file = {:?}\n
        [[auth.api_keys]]\nkey_file = {:?}\n",
        path("raw"),
        path("secret"),
        STANDARD.encode(&decoded),
        URL_SAFE_NO_PAD.encode([0xfb; 32]),
        path("public.pem"),
        path("api-key")
    );
    fs::write(path("tidegate.toml"), dressed(&config)).unwrap();
    let file = path("tidegate.toml");
    let gateway = Gateway::spawn(env!("CARGO_BIN_EXE_tidegate"), &["--config", &file], &[]).await;
    for (what, credential) in [
        ("raw bytes", token(Algorithm::Hs256, raw)),
        ("a text", token(Algorithm::Hs256, shared)),
        ("base64", token(Algorithm::Hs256, decoded)),
        ("base64url", token(Algorithm::Hs256, vec![0xfb; 32])),
        ("PEM", token(Algorithm::Es256, pair.serialize_pem())),
        ("an API key", API_KEY.into()),
    ] {
        let (status, problem) =
            publish_as(&gateway.base(), &credential, &json!({"topic": "a", "data": 1})).await;
        assert_eq!(status, 200, "{what}: {problem}");
    }
    let by_command =
        tidegate(&["token", "--user", "a", "--admin", "--publish", "**", "--key-file", &path("raw")]);
    let (code, by_command, said) = outcome(by_command).await;
    assert_eq!(code, 0, "{said}");
    let event = json!({"topic": "a", "data": 1});
    assert_eq!(publish_as(&gateway.base(), by_command.trim(), &event).await.0, 200);
}
