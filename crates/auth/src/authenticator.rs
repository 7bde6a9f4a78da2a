use std::sync::Arc;

use tidegate_protocol::Topic;

use crate::api_keys::ApiKeys;
use crate::claims::Rules;
use crate::jwks::{self, Jwks};
use crate::keys::VerifyingKey;
use crate::{Credential, Error, Identity, InvalidOption, Mode, Options, Presented, Source};

/// Decides who a caller is. Cloning is cheap and shares the keys.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    mode: Mode,
    max_token_bytes: usize,
    api_keys: ApiKeys,
    jwt_keys: Vec<VerifyingKey>,
    jwks: Option<Arc<Jwks>>,
    rules: Rules,
}

impl Authenticator {
    /// Checks the options; everything wrong with them is said at once. Fetches nothing yet.
    pub fn new(options: &Options) -> Result<Self, Vec<InvalidOption>> {
        let mut invalid = Vec::new();
        let mut jwt_keys = Vec::new();
        for (index, key) in options.jwt.keys.iter().enumerate() {
            match VerifyingKey::configured(key, &format!("auth.jwt.keys[{index}]")) {
                Ok(key) => jwt_keys.push(key),
                Err(error) => invalid.push(error),
            }
        }
        let api_keys = ApiKeys::new(&options.api_keys, &mut invalid);
        let jwks = options.jwt.jwks.as_ref().map(Jwks::new).transpose().map_err(|error| invalid.push(error));
        let rules = Rules::new(&options.jwt).map_err(|error| invalid.push(error));
        if options.max_token_bytes == 0 {
            invalid.push(InvalidOption::new("auth.max_token_bytes", "0 would refuse every token"));
        }
        let no_keys =
            options.jwt.keys.is_empty() && options.api_keys.is_empty() && options.jwt.jwks.is_none();
        if options.mode == Mode::Keys && no_keys {
            let problem =
                "keys decide, but there is none: give auth.jwt.keys, auth.jwt.jwks_url or auth.api_keys";
            invalid.push(InvalidOption::new("auth.mode", problem));
        }
        let (Ok(jwks), Ok(rules), true) = (jwks, rules, invalid.is_empty()) else {
            return Err(invalid);
        };
        let (mode, max_token_bytes) = (options.mode, options.max_token_bytes);
        Ok(Self(Arc::new(Inner { mode, max_token_bytes, api_keys, jwt_keys, jwks, rules })))
    }

    /// Keeps the key set fresh, if there is one; never returns. Spawn it, and drop it to stop.
    ///
    /// Without it tokens are still checked: the first one makes the set be fetched.
    pub async fn run(&self) {
        jwks::run(self.0.jwks.as_ref()).await;
    }

    /// Whether everything is allowed to everyone.
    pub fn is_open(&self) -> bool {
        self.0.mode == Mode::Open
    }

    /// Says who is calling.
    ///
    /// [`Error::Missing`] means that nothing was presented: for topics that anyone may read, go on with
    /// [`Identity::anonymous`]. Waits only if a token names an unknown key and a key set can be asked.
    pub async fn authenticate(&self, presented: &Presented<'_>) -> Result<Identity, Error> {
        let open = self.is_open();
        if open && !self.has_keys() {
            return open_identity(presented);
        }
        match presented.credential()? {
            Some(credential) => {
                let identity = self.verify(credential).await?;
                let everything = Identity::open(identity.user.clone());
                Ok(if open {
                    Identity { grants: everything.grants, admin: true, ..identity }
                } else {
                    identity
                })
            }
            None if open => open_identity(presented),
            None => Err(Error::Missing),
        }
    }

    async fn verify(&self, credential: Credential<'_>) -> Result<Identity, Error> {
        let (text, limit) = (credential.text, self.0.max_token_bytes);
        if text.len() > limit {
            return Err(Error::TooLarge { size: text.len(), limit });
        }
        if credential.source == Source::Header
            && let Some(identity) = self.0.api_keys.find(text)
        {
            return Ok(identity);
        }
        if self.0.jwt_keys.is_empty() && self.0.jwks.is_none() {
            return Err(Error::UnknownKey);
        }
        // Something without dots on a gateway with API keys is a wrong API key, not a broken token.
        if !text.contains('.') && !self.0.api_keys.is_empty() {
            return Err(Error::UnknownKey);
        }
        self.verify_token(text).await
    }

    async fn verify_token(&self, token: &str) -> Result<Identity, Error> {
        let Some(jwks) = &self.0.jwks else { return self.try_keys(token) };
        let seen = jwks.generation();
        match self.try_keys(token) {
            // A token without a `kid` may also have found only keys of other algorithms, as long as the set is absent.
            Err(Error::UnknownKey) => {}
            Err(Error::WrongAlgorithm | Error::BadSignature) if seen == 0 => {}
            verdict => return verdict,
        }
        jwks.newer_than(seen).await;
        match self.try_keys(token) {
            Err(Error::UnknownKey) if jwks.generation() == 0 => Err(Error::KeysUnavailable),
            verdict => verdict,
        }
    }

    fn try_keys(&self, token: &str) -> Result<Identity, Error> {
        let fetched = self.0.jwks.as_ref().map(|jwks| jwks.keys());
        let fetched = fetched.iter().flat_map(|keys| keys.iter());
        let keys: Vec<&VerifyingKey> = self.0.jwt_keys.iter().chain(fetched).collect();
        self.0.rules.verify(token, &keys)
    }

    fn has_keys(&self) -> bool {
        !self.0.jwt_keys.is_empty() || self.0.jwks.is_some() || !self.0.api_keys.is_empty()
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("mode", &self.0.mode).finish_non_exhaustive()
    }
}

fn open_identity(presented: &Presented<'_>) -> Result<Identity, Error> {
    let user = presented.claimed_user.filter(|user| !user.is_empty());
    if let Some(Err(error)) = user.map(Topic::user) {
        return Err(Error::BadClaims(format!("that is not a user id: {error}")));
    }
    Ok(Identity::open(user.map(Into::into)))
}
