//! `tidegate token`: what an application's login would sign.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use clap::Args;
use tidegate_auth::{Algorithm, Claims, KeyMaterial, Secret, SigningKey, mint};
use tidegate_protocol::Pattern;

use super::ConfigFile;
use crate::config::key_file;

#[derive(Args, Debug)]
pub(crate) struct Token {
    /// User id (`sub`)
    #[arg(long)]
    user: Option<String>,
    /// Topics to subscribe to: a pattern; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    subscribe: Vec<Pattern>,
    /// Topics to publish to: a pattern; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    publish: Vec<Pattern>,
    /// May manage memberships, histories and connections of users
    #[arg(long)]
    admin: bool,
    /// How long it is valid
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Sign with this secret instead of a configured one
    #[arg(long, conflicts_with = "key_file")]
    secret: Option<String>,
    /// Sign with this file: a secret, or a private key (PKCS#8, PEM)
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Algorithm for --secret and --key-file [default: HS256]
    #[arg(long)]
    alg: Option<Algorithm>,
    /// Key id for --secret and --key-file
    #[arg(long)]
    kid: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

pub(crate) fn run(args: &Token) -> anyhow::Result<ExitCode> {
    let claims = Claims {
        user: args.user.clone(),
        subscribe: args.subscribe.clone(),
        publish: args.publish.clone(),
        admin: args.admin,
        audience: Vec::new(),
        issuer: None,
        not_before: None,
        expires_at: SystemTime::now().checked_add(args.ttl).context("--ttl is too long")?,
    };
    let (key, claims) = match args.given_key()? {
        Some(key) => (key, claims),
        None => args.configured_key(claims)?,
    };
    super::output::print(mint(&key, &claims)?)?;
    Ok(ExitCode::SUCCESS)
}

impl Token {
    fn given_key(&self) -> anyhow::Result<Option<SigningKey>> {
        let material: Secret = match (&self.secret, &self.key_file) {
            (Some(secret), _) => secret.as_str().into(),
            (None, Some(path)) => key_file::read(path).map_err(anyhow::Error::msg)?.into(),
            (None, None) if self.alg.is_some() || self.kid.is_some() => {
                bail!("--alg and --kid are about a key: give --secret or --key-file, too")
            }
            (None, None) => return Ok(None),
        };
        let algorithm = self.alg.unwrap_or(Algorithm::Hs256);
        Ok(Some(SigningKey::new(algorithm, &material, self.kid.clone())?))
    }

    /// The first key of the configuration that can sign, and the audience and issuer that the gateway asks for.
    fn configured_key(&self, claims: Claims) -> anyhow::Result<(SigningKey, Claims)> {
        let config = crate::config::load(&self.file.sources())?.config;
        let jwt = &config.auth.jwt;
        let Some(key) = jwt.keys.iter().find(|key| key.alg.is_symmetric()) else {
            bail!(
                "no key to sign with: configure one with a secret (auth.jwt.keys), or give --secret or --key-file with --alg. An open gateway needs no token"
            );
        };
        let (field, key) =
            ("auth.jwt.keys", key.option().map_err(|(field, what)| anyhow::anyhow!("{field}: {what}"))?);
        let KeyMaterial::Secret(secret) = &key.material else {
            bail!("{field} holds no secret to sign with")
        };
        let key = SigningKey::new(key.algorithm, secret, key.kid)?;
        let audience = jwt.audience.first().cloned().into_iter().collect();
        Ok((key, Claims { audience, issuer: jwt.issuer.first().cloned(), ..claims }))
    }
}
