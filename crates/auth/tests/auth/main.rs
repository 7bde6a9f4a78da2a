//! Every way in, and every refusal.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api_keys;
mod credentials;
mod jwks;
mod key_sets;
mod options;
mod support;
mod tokens;
