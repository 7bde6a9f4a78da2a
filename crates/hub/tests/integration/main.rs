//! The hub over a broker that can be stopped, made to fail, and made to say what it never said.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod asking;
mod bounds;
mod changing;
mod forgetting;
mod joining;
mod leaving;
mod members;
mod random;
mod reader;
mod rig;
