//! Who may do what: the settings, and the keys that they name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_auth::{Algorithm, JwksOptions, KeyMaterial};

use super::key_file;
use super::values::{Secret, SecretUrl, Size};

/// Credentials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    /// Who decides.
    pub(crate) mode: AuthMode,
    /// The cookie that may hold a token.
    pub(crate) cookie: String,
    /// The longest token that is looked at.
    pub(crate) max_token_bytes: Size,
    /// Tokens of users.
    pub(crate) jwt: Jwt,
    /// Static keys of backends.
    pub(crate) api_keys: Vec<ApiKey>,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthMode {
    /// The keys, if there are any; otherwise nobody, and then only on a loopback address.
    Auto,
    /// Nobody, on any address.
    Open,
    /// The keys. That there is none is an error.
    Keys,
}

/// How tokens are checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Jwt {
    /// If not empty, a token's `aud` must name one of these.
    pub(crate) audience: Vec<String>,
    /// If not empty, a token's `iss` must be one of these.
    pub(crate) issuer: Vec<String>,
    /// How far the issuer's clock may be off.
    #[serde(with = "humantime_serde")]
    pub(crate) leeway: Duration,
    /// Where the issuer publishes its keys.
    pub(crate) jwks_url: SecretUrl,
    /// An unknown key id has the set fetched again, but not more often than this.
    #[serde(with = "humantime_serde")]
    pub(crate) jwks_cooldown: Duration,
    /// The set is fetched this often in any case.
    #[serde(with = "humantime_serde")]
    pub(crate) jwks_refresh: Duration,
    /// Keys that don't come from a URL.
    pub(crate) keys: Vec<JwtKey>,
}

/// A key that verifies tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JwtKey {
    /// The only algorithm that this key is used with.
    pub(crate) alg: Algorithm,
    /// Only tokens with this key id; empty: any.
    pub(crate) kid: String,
    /// HS algorithms: the shared secret.
    pub(crate) secret: Secret,
    /// The same in base64, for issuers that sign with the decoded bytes.
    pub(crate) secret_base64: Secret,
    /// The same, out of a file: a text, or raw bytes.
    pub(crate) secret_file: PathBuf,
    /// Other algorithms: a PEM file.
    pub(crate) public_key_file: PathBuf,
}

/// A backend's key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ApiKey {
    /// In logs and rate limits.
    pub(crate) name: String,
    /// Sent as `Authorization: Bearer`.
    pub(crate) key: Secret,
    /// The same, out of a file.
    pub(crate) key_file: PathBuf,
    /// Patterns of topics.
    pub(crate) publish: Vec<String>,
    /// Patterns of topics.
    pub(crate) subscribe: Vec<String>,
    /// Whether it may manage memberships, histories and connections of users.
    pub(crate) admin: bool,
}

/// A key that can't be used: which field, and why.
pub(crate) type BadKey = (&'static str, String);

impl Auth {
    /// Whether nobody is asked for a key.
    pub(crate) fn is_open(&self) -> bool {
        match self.mode {
            AuthMode::Auto => !self.has_keys(),
            AuthMode::Open => true,
            AuthMode::Keys => false,
        }
    }

    pub(crate) fn has_keys(&self) -> bool {
        !self.jwt.keys.is_empty() || !self.api_keys.is_empty() || !self.jwt.jwks_url.is_empty()
    }

    /// What the authenticator is made from. Reads the key files.
    pub(crate) fn options(&self) -> Result<tidegate_auth::Options, BadKey> {
        Ok(tidegate_auth::Options {
            mode: if self.is_open() { tidegate_auth::Mode::Open } else { tidegate_auth::Mode::Keys },
            jwt: tidegate_auth::JwtOptions {
                keys: self.jwt.keys.iter().map(JwtKey::option).collect::<Result<_, _>>()?,
                audience: self.jwt.audience.clone(),
                issuer: self.jwt.issuer.clone(),
                leeway: self.jwt.leeway,
                jwks: (!self.jwt.jwks_url.is_empty()).then(|| JwksOptions {
                    cooldown: self.jwt.jwks_cooldown,
                    refresh: self.jwt.jwks_refresh,
                    ..JwksOptions::new(self.jwt.jwks_url.expose())
                }),
            },
            api_keys: self.api_keys.iter().map(ApiKey::option).collect::<Result<_, _>>()?,
            max_token_bytes: usize::try_from(self.max_token_bytes.bytes()).unwrap_or(usize::MAX),
        })
    }
}

impl JwtKey {
    /// The key itself, out of whichever field holds it.
    pub(crate) fn option(&self) -> Result<tidegate_auth::JwtKey, BadKey> {
        let given: Vec<&'static str> = [
            ("secret", !self.secret.is_empty()),
            ("secret_base64", !self.secret_base64.is_empty()),
            ("secret_file", is_set(&self.secret_file)),
            ("public_key_file", is_set(&self.public_key_file)),
        ]
        .into_iter()
        .filter_map(|(field, is_given)| is_given.then_some(field))
        .collect();
        let material = match given[..] {
            ["secret"] => KeyMaterial::Secret(self.secret.expose().into()),
            ["secret_base64"] => KeyMaterial::Secret(self.decoded()?),
            ["secret_file"] => KeyMaterial::Secret(read("secret_file", &self.secret_file)?),
            ["public_key_file"] => KeyMaterial::PublicPem(read("public_key_file", &self.public_key_file)?),
            [one, other, ..] => return Err((other, both(one, other))),
            _ if self.alg.is_symmetric() => {
                let what = format!("{} needs secret, secret_base64 or secret_file", self.alg);
                return Err(("secret", what));
            }
            _ => return Err(("public_key_file", format!("{} needs public_key_file", self.alg))),
        };
        Ok(tidegate_auth::JwtKey { algorithm: self.alg, kid: Some(self.kid.clone()), material })
    }

    fn decoded(&self) -> Result<tidegate_auth::Secret, BadKey> {
        let secret = tidegate_auth::Secret::from_base64(self.secret_base64.expose());
        secret.ok_or_else(|| ("secret_base64", "is not base64".into()))
    }
}

impl ApiKey {
    /// The key itself, out of whichever field holds it.
    pub(crate) fn option(&self) -> Result<tidegate_auth::ApiKey, BadKey> {
        let key = match (self.key.is_empty(), is_set(&self.key_file)) {
            (false, false) => self.key.expose().into(),
            (true, true) => read("key_file", &self.key_file)?,
            (false, true) => return Err(("key_file", both("key", "key_file"))),
            (true, false) => return Err(("key", "an API key needs key or key_file".into())),
        };
        Ok(tidegate_auth::ApiKey {
            name: self.name.clone(),
            key,
            publish: self.publish.clone(),
            subscribe: self.subscribe.clone(),
            admin: self.admin,
        })
    }

    /// The same with a key that can be read, so that the rest of it can be checked.
    pub(crate) fn with_stand_in(&self, index: usize) -> Self {
        let key = Secret::from(format!("stand-in-for-key-number-{index}"));
        Self { key, key_file: PathBuf::new(), ..self.clone() }
    }
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

fn both(one: &str, other: &str) -> String {
    format!("{one} and {other} are both given: keep one of them")
}

fn read(field: &'static str, path: &Path) -> Result<tidegate_auth::Secret, BadKey> {
    key_file::read(path).map(Into::into).map_err(|what| (field, what))
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::Auto,
            cookie: "tidegate_token".into(),
            max_token_bytes: Size::kib(8),
            jwt: Jwt::default(),
            api_keys: Vec::new(),
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway: Duration::ZERO,
            jwks_url: SecretUrl::default(),
            jwks_cooldown: Duration::from_secs(30),
            jwks_refresh: Duration::from_secs(600),
            keys: Vec::new(),
        }
    }
}

impl Default for JwtKey {
    fn default() -> Self {
        Self {
            alg: Algorithm::Hs256,
            kid: String::new(),
            secret: Secret::default(),
            secret_base64: Secret::default(),
            secret_file: PathBuf::new(),
            public_key_file: PathBuf::new(),
        }
    }
}

impl Default for ApiKey {
    /// A backend's: it publishes anything and manages anybody.
    fn default() -> Self {
        Self {
            name: "backend".into(),
            key: Secret::default(),
            key_file: PathBuf::new(),
            publish: vec!["**".into()],
            subscribe: vec!["**".into()],
            admin: true,
        }
    }
}
