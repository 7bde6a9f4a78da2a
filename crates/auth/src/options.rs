use std::fmt;
use std::time::Duration;

use crate::Algorithm;
use crate::base64::decode;

/// What an [`Authenticator`](crate::Authenticator) is built from. Nothing in here has been checked yet.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who decides.
    pub mode: Mode,
    /// Tokens.
    pub jwt: JwtOptions,
    /// Static keys of backends.
    pub api_keys: Vec<ApiKey>,
    /// The longest credential that is looked at, in bytes.
    pub max_token_bytes: usize,
}

/// Who decides what a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nobody: everything is allowed to everyone. A presented token is still checked if there is a key to do it with,
    /// since it says who the user is and when the stream ends.
    Open,
    /// The configured keys; at least one is needed.
    Keys,
}

/// How tokens are checked.
#[derive(Clone, Debug)]
pub struct JwtOptions {
    /// Keys that don't come from a URL.
    pub keys: Vec<JwtKey>,
    /// If not empty, a token must name one of these in `aud`.
    pub audience: Vec<String>,
    /// If not empty, a token's `iss` must be one of these.
    pub issuer: Vec<String>,
    /// How far the issuer's clock and ours may be apart, for `exp` and `nbf`. At most one hour; whole seconds.
    pub leeway: Duration,
    /// A key set to fetch.
    pub jwks: Option<JwksOptions>,
}

/// One key, bound to one algorithm.
#[derive(Clone, Debug)]
pub struct JwtKey {
    /// The only algorithm that this key verifies.
    pub algorithm: Algorithm,
    /// Answers to tokens with this `kid`. Without one the key is tried on every token of its algorithm.
    pub kid: Option<String>,
    /// The key itself.
    pub material: KeyMaterial,
}

/// What a key is made of.
#[derive(Clone, Debug)]
pub enum KeyMaterial {
    /// The shared secret of an HS algorithm.
    Secret(Secret),
    /// A PEM file's text, `BEGIN PUBLIC KEY` (or `BEGIN RSA PUBLIC KEY`). Not shown in logs: it may be the private half,
    /// mistaken for this.
    PublicPem(Secret),
}

/// A key set (RFC 7517) behind a URL. Its symmetric keys are ignored: whoever can read the URL would know them.
#[derive(Clone, Debug)]
pub struct JwksOptions {
    /// `https://`, or `http://` inside a trusted network.
    pub url: String,
    /// An unknown `kid` makes the set be fetched again, but not more often than this.
    pub cooldown: Duration,
    /// The set is fetched this often in any case.
    pub refresh: Duration,
    /// A whole fetch may take this long.
    pub timeout: Duration,
}

/// A backend's static key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its name in logs and rate limits.
    pub name: String,
    /// What is sent as `Authorization: Bearer`.
    pub key: Secret,
    /// Patterns it may publish to.
    pub publish: Vec<String>,
    /// Patterns it may subscribe to.
    pub subscribe: Vec<String>,
    /// Whether it may manage others.
    pub admin: bool,
}

/// One thing wrong with the options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct InvalidOption {
    /// Where, in the words of the configuration file: `auth.jwt.keys[0]`.
    pub setting: String,
    /// What, and what to do.
    pub problem: String,
}

/// Bytes that no log may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// From base64 of either alphabet, padded or not; white space in it is passed over.
    pub fn from_base64(text: &str) -> Option<Self> {
        let digits = text.split_ascii_whitespace().collect::<String>();
        decode(&digits).map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Vec<u8>>> From<T> for Secret {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl InvalidOption {
    pub(crate) fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { setting: setting.into(), problem: problem.into() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { mode: Mode::Keys, jwt: JwtOptions::default(), api_keys: Vec::new(), max_token_bytes: 8 << 10 }
    }
}

impl Default for JwtOptions {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway: Duration::ZERO,
            jwks: None,
        }
    }
}

impl JwksOptions {
    /// The set behind `url`, fetched every 10 minutes and at most every 30 seconds, for at most 5 seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            cooldown: Duration::from_secs(30),
            refresh: Duration::from_secs(600),
            timeout: Duration::from_secs(5),
        }
    }
}
