//! The in-process broker.

/// Settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// 1 to 8.
    pub partitions: u8,
    /// Bytes of deliveries that may wait for dispatch.
    pub queue_bytes: usize,
}

/// One node's broker, within the process.
pub struct Local;
