use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What any body may take, whatever the others take: small ones, which nearly all are, never wait
/// for large ones.
const FREE: usize = 16 << 10;

/// What memory for bodies is counted in.
const UNIT: usize = 1 << 10;

/// Memory for bodies that are read or worked on, all together.
pub(crate) struct BodyMemory(Arc<Semaphore>);

/// One body's share of it.
#[derive(Default)]
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

impl BodyMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// Makes the share large enough for a body of `bytes`. False if there is no room.
    pub(crate) fn grow(&self, share: &mut Share, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(FREE).div_ceil(UNIT);
        let have = share.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = u32::try_from(wanted.saturating_sub(have)).ok().filter(|more| *more > 0) else {
            return true;
        };
        let Ok(more) = Arc::clone(&self.0).try_acquire_many_owned(more) else { return false };
        match &mut share.0 {
            Some(permit) => permit.merge(more),
            None => share.0 = Some(more),
        }
        true
    }
}

impl Share {
    /// A body whose share is given back when nothing needs it any more.
    pub(crate) fn hold(self, bytes: Vec<u8>) -> Bytes {
        match self.0 {
            Some(permit) => Bytes::from_owner(Held(bytes, permit)),
            None => bytes.into(),
        }
    }
}

struct Held(Vec<u8>, #[allow(dead_code, reason = "kept for its drop")] OwnedSemaphorePermit);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
