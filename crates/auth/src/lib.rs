//! A credential in, an [`Identity`] with grants out. Knows nothing of HTTP and reads no environment.
//!
//! The caller fills a [`Presented`] with what the request carried and asks the [`Authenticator`]; everything that can
//! go wrong is an [`Error`] with a stable [`code`](Error::code). Two kinds of credential are known: JSON Web Tokens
//! (static keys, or a JWKS kept fresh in the background) and static API keys for backends.
//!
//! ```
//! use tidegate_auth::{Authenticator, Mode, Options, Presented};
//! # async fn example() -> Result<(), tidegate_auth::Error> {
//! let options = Options { mode: Mode::Open, ..Options::default() };
//! let authenticator = Authenticator::new(&options).expect("an open gateway needs no keys");
//! let identity = authenticator.authenticate(&Presented::default()).await?;
//! assert_eq!(&*identity.label, "open");
//! # Ok(())
//! # }
//! ```

mod algorithm;
mod api_keys;
mod authenticator;
mod base64;
mod claims;
mod digest;
mod error;
mod identity;
mod jwk;
mod jwks;
mod jwt;
mod keys;
mod mint;
mod options;
mod origins;
mod presented;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use authenticator::Authenticator;
pub use error::Error;
pub use identity::{Grants, Identity};
pub use mint::{Claims, MintError, SigningKey, mint};
pub use options::{
    ApiKey, InvalidOption, JwksOptions, JwtKey, JwtOptions, KeyMaterial, Mode, Options, Secret,
};
pub use origins::Origins;
pub use presented::{Credential, Origin, Presented, Source};
