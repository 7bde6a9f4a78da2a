//! A credential in, an identity with grants out. Knows nothing of HTTP.
