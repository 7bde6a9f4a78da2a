//! Key pairs made on the spot, tokens of any shape, and a key-set endpoint to be bad-tempered at will.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};
use tidegate_auth::{
    Algorithm, Authenticator, Claims, Error, Identity, JwksOptions, JwtKey, JwtOptions, KeyMaterial, Mode,
    Options, Presented, SigningKey, mint,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Both halves of a key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) private: String,
    pub(crate) public: String,
}

static RSA: LazyLock<Pair> = LazyLock::new(|| rsa(KeySize::Rsa2048));

/// A pair for an asymmetric algorithm. RSA pairs are slow to make: there is one.
pub(crate) fn pair(algorithm: Algorithm) -> Pair {
    match algorithm {
        Algorithm::Es256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::EdDsa => {
            let key = Ed25519KeyPair::generate().unwrap();
            let private: Pkcs8V1Der<'_> = key.as_der().unwrap();
            let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
            Pair { private: pem("PRIVATE KEY", private.as_ref()), public: pem("PUBLIC KEY", public.as_ref()) }
        }
        _ => RSA.clone(),
    }
}

pub(crate) fn rsa(size: KeySize) -> Pair {
    let key = RsaKeyPair::generate(size).unwrap();
    let private: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    Pair { private: pem("PRIVATE KEY", private.as_ref()), public: pem("PUBLIC KEY", public.as_ref()) }
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Pair {
    let key = EcdsaKeyPair::generate(algorithm).unwrap();
    let private = key.to_pkcs8v1().unwrap();
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    Pair { private: pem("PRIVATE KEY", private.as_ref()), public: pem("PUBLIC KEY", public.as_ref()) }
}

fn pem(tag: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", lines.join("\n"))
}

pub(crate) fn secret_key(algorithm: Algorithm, secret: &str) -> JwtKey {
    JwtKey { algorithm, kid: None, material: KeyMaterial::Secret(secret.into()) }
}

pub(crate) fn public_key(algorithm: Algorithm, pem: &str) -> JwtKey {
    JwtKey { algorithm, kid: None, material: KeyMaterial::PublicPem(pem.into()) }
}

/// Options with HS256 over [`SECRET`] and no leeway.
pub(crate) fn hs256() -> Options {
    with_keys(vec![secret_key(Algorithm::Hs256, SECRET)])
}

pub(crate) fn with_keys(keys: Vec<JwtKey>) -> Options {
    let jwt = JwtOptions { keys, leeway: Duration::ZERO, ..JwtOptions::default() };
    Options { mode: Mode::Keys, jwt, ..Options::default() }
}

pub(crate) fn build(options: &Options) -> Authenticator {
    Authenticator::new(options).expect("valid options")
}

/// Sends `token` as a bearer.
pub(crate) async fn bearer(authenticator: &Authenticator, token: &str) -> Result<Identity, Error> {
    authenticator.authenticate(&Presented { bearer: Some(token), ..Presented::default() }).await
}

pub(crate) fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// `exp`, `nbf` and the like, `offset` seconds from now.
pub(crate) fn at(offset: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + offset
}

/// An HS256 token over [`SECRET`] with these claims, however wrong.
pub(crate) fn token(claims: &Value) -> String {
    token_with(&json!({ "alg": "HS256", "typ": "JWT" }), claims)
}

/// The same with this header. The signature is always HS256.
pub(crate) fn token_with(header: &Value, claims: &Value) -> String {
    sign(header, claims, SECRET.as_bytes())
}

pub(crate) fn sign(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = jsonwebtoken::EncodingKey::from_secret(secret);
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

/// A good token of `algorithm` for alice.
pub(crate) fn alice(algorithm: Algorithm, key: &str, kid: Option<&str>) -> String {
    let key = SigningKey::new(algorithm, &key.into(), kid.map(Into::into)).unwrap();
    mint(&key, &Claims::for_user("alice", in_an_hour())).unwrap()
}

/// An entry of a key set.
pub(crate) fn jwk(algorithm: Algorithm, public: &str, kid: &str) -> Value {
    let (key, name) = match algorithm {
        Algorithm::Rs256 => (DecodingKey::from_rsa_pem(public.as_bytes()), jsonwebtoken::Algorithm::RS256),
        Algorithm::Es256 => (DecodingKey::from_ec_pem(public.as_bytes()), jsonwebtoken::Algorithm::ES256),
        Algorithm::EdDsa => (DecodingKey::from_ed_pem(public.as_bytes()), jsonwebtoken::Algorithm::EdDSA),
        other => panic!("no test needs a JWK for {other}"),
    };
    let mut jwk = Jwk::from_decoding_key(&key.unwrap(), Some(name)).unwrap();
    jwk.common.key_id = Some(kid.into());
    serde_json::to_value(jwk).unwrap()
}

/// An HTTP server that answers every request with what it was last told.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    shared: Arc<Shared>,
    /// One message for each request that came in.
    pub(crate) requests: mpsc::UnboundedReceiver<()>,
}

struct Shared {
    answer: Mutex<(u16, String)>,
    hits: AtomicUsize,
    /// Answers need a permit; there are plenty unless held.
    gate: Semaphore,
}

impl Endpoint {
    pub(crate) async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            answer: Mutex::new((200, json!({ "keys": keys }).to_string())),
            hits: AtomicUsize::new(0),
            gate: Semaphore::new(1000),
        });
        let (seen, requests) = mpsc::unbounded_channel();
        let state = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&state), seen.clone()));
            }
        });
        Self { url, shared, requests }
    }

    pub(crate) fn serve(&self, keys: &[Value]) {
        self.reply(200, json!({ "keys": keys }).to_string());
    }

    pub(crate) fn reply(&self, status: u16, body: impl Into<String>) {
        *self.shared.answer.lock().unwrap() = (status, body.into());
    }

    pub(crate) fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::SeqCst)
    }

    /// Requests come in, answers don't go out.
    pub(crate) fn hold(&self) {
        self.shared.gate.forget_permits(1000);
    }

    pub(crate) fn release(&self) {
        self.shared.gate.add_permits(1000);
    }

    pub(crate) fn options(&self, cooldown: Duration) -> Options {
        let jwks = JwksOptions { cooldown, ..JwksOptions::new(self.url.clone()) };
        let mut options = with_keys(Vec::new());
        options.jwt.jwks = Some(jwks);
        options
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Shared>, seen: mpsc::UnboundedSender<()>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    shared.hits.fetch_add(1, Ordering::SeqCst);
    let _ = seen.send(());
    let _permit = shared.gate.acquire().await.unwrap();
    let (status, body) = shared.answer.lock().unwrap().clone();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes()).await;
}
