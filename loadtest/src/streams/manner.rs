use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::profile::{Via, Words};

/// How clients behave: all that a process which takes a share of them has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manner {
    pub(crate) urls: Vec<String>,
    pub(crate) words: Words,
    pub(crate) via: Via,
    /// Threads.
    pub(crate) readers: usize,
    /// Clients that connect at once, over all threads.
    pub(crate) parallel: usize,
    /// They come back by themselves with their cursor, after the time that the server asked for.
    pub(crate) reconnect: bool,
    /// One that has heard nothing for so long is taken for dead.
    pub(crate) silence: Option<Duration>,
    /// Write down when each event came to each client.
    pub(crate) log: bool,
}
