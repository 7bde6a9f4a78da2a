//! A key set behind a URL, kept at hand.
//!
//! Fetched by [`Jwks::run`] at the start and then periodically, and by a token whose `kid` is unknown, with a cooldown.
//! One fetch is under way at a time; whoever needs its outcome waits for it. A fetch that fails keeps the old keys. The
//! fetch is a task of its own, so a client that leaves while waiting can't spoil it for the others.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::{Client, Url, redirect};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::jwk::LeftOut;
use crate::keys::VerifyingKey;
use crate::{InvalidOption, JwksOptions};

/// A byte order mark: some static file servers deliver what an editor saved.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Real key sets have a few kB; the largest known ones stay below 100. It bounds the number of keys
/// as well.
const MAX_BYTES: usize = 256 << 10;

pub(crate) struct Jwks {
    url: Url,
    client: Client,
    cooldown: Duration,
    refresh: Duration,
    keys: ArcSwap<Vec<VerifyingKey>>,
    /// How often the set was fetched: 0 means never.
    generation: AtomicU64,
    /// Locked during a fetch.
    last_fetch: Mutex<LastFetch>,
}

#[derive(Default)]
struct LastFetch {
    began: Option<Instant>,
    /// Said when it changes: the set is fetched again and again.
    left_out: Vec<LeftOut>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("not a JSON Web Key Set: {0}")]
    NotASet(#[from] serde_json::Error),
}

impl Jwks {
    pub(crate) fn new(options: &JwksOptions) -> Result<Arc<Self>, InvalidOption> {
        let invalid = |problem: String| InvalidOption::new("auth.jwt.jwks_url", problem);
        let url = Url::parse(&options.url).map_err(|error| invalid(format!("not a URL: {error}")))?;
        let encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(invalid(format!("{other} is neither https nor http"))),
        };
        if options.refresh.is_zero() {
            return Err(InvalidOption::new("auth.jwt.jwks_refresh", "must be longer than nothing"));
        }
        if !encrypted {
            tracing::warn!(url = %redacted(&url), "signing keys come over plain HTTP: whoever is in between can sign");
        }
        let client = Client::builder()
            .https_only(encrypted)
            .redirect(redirect::Policy::limited(3))
            .timeout(options.timeout)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| invalid(format!("no HTTP client: {error}")))?;
        Ok(Arc::new(Self {
            url,
            client,
            cooldown: options.cooldown,
            refresh: options.refresh,
            keys: ArcSwap::default(),
            generation: AtomicU64::new(0),
            last_fetch: Mutex::default(),
        }))
    }

    pub(crate) fn keys(&self) -> Arc<Vec<VerifyingKey>> {
        self.keys.load_full()
    }

    /// Which fetch the current keys are from; 0 before the first.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Fetches now and then periodically; after a failure again once the cooldown is over.
    pub(crate) async fn run(&self) {
        loop {
            let fetched = self.fetch_into(&mut *self.last_fetch.lock().await).await;
            let pause = if fetched { self.refresh } else { self.refresh.min(self.cooldown) };
            // A cooldown of zero must not become a busy loop.
            sleep(pause.max(Duration::from_secs(1))).await;
        }
    }

    /// Waits for keys newer than `seen`; false if there are none to be had now.
    pub(crate) async fn newer_than(self: &Arc<Self>, seen: u64) -> bool {
        if self.generation() != seen {
            return true;
        }
        if self.last_fetch.try_lock().is_ok_and(|last| self.cools_down(&last)) {
            return false;
        }
        let this = Arc::clone(self);
        // Short-lived: a fetch has a time-out.
        let fetch = tokio::spawn(async move {
            let mut last = this.last_fetch.lock().await;
            if this.generation() != seen {
                return true;
            }
            !this.cools_down(&last) && this.fetch_into(&mut last).await
        });
        fetch.await.unwrap_or(false)
    }

    fn cools_down(&self, last: &LastFetch) -> bool {
        last.began.is_some_and(|began| began.elapsed() < self.cooldown)
    }

    async fn fetch_into(&self, last: &mut LastFetch) -> bool {
        last.began = Some(Instant::now());
        match self.fetch().await {
            Ok((keys, left_out)) => {
                if keys.is_empty() {
                    tracing::warn!(url = %redacted(&self.url), "the key set has no key that can verify tokens");
                }
                if !left_out.is_empty() && left_out != last.left_out {
                    let first: Vec<String> = left_out.iter().take(10).map(ToString::to_string).collect();
                    let (count, first) = (left_out.len(), first.join("; "));
                    tracing::info!(url = %redacted(&self.url), count, first, "entries of the key set are not used");
                }
                last.left_out = left_out;
                self.keys.store(Arc::new(keys));
                self.generation.fetch_add(1, Ordering::AcqRel);
                true
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(url = %redacted(&self.url), error, "the key set could not be fetched; the old keys stay");
                false
            }
        }
    }

    async fn fetch(&self) -> Result<(Vec<VerifyingKey>, Vec<LeftOut>), FetchError> {
        let mut response = self.client.get(self.url.clone()).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let set: KeySet = serde_json::from_slice(body.strip_prefix(BOM).unwrap_or(&body))?;
        let (mut keys, mut left_out) = (Vec::new(), Vec::new());
        // One by one: an entry of an unknown kind must not spoil the others.
        for entry in &set.keys {
            match VerifyingKey::fetched(entry) {
                Ok(found) => keys.extend(found),
                Err(entry) => left_out.push(entry),
            }
        }
        Ok((keys, left_out))
    }
}

/// Runs the set, or waits forever without one.
pub(crate) async fn run(jwks: Option<&Arc<Jwks>>) {
    match jwks {
        Some(jwks) => jwks.run().await,
        None => pending().await,
    }
}

fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
