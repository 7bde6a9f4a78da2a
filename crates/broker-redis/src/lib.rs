//! The Redis broker: scripts, connection supervision, wanted versus held subscriptions, repair from streams.
