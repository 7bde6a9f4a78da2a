//! What the operating system gives as random bytes: the keys of std's hash maps, `rand`, tokio.
//!
//! This program defines the C library's `getrandom`, so nothing in the gateway has to know. A
//! thread that asked for a seed gets numbers made of it; every other thread gets real ones.
#![allow(unsafe_code)]

use std::cell::RefCell;

use crate::chance::Chance;

thread_local! {
    static SEEDED: RefCell<Option<Chance>> = const { RefCell::new(None) };
}

/// From now on, this thread's random bytes follow from `seed`.
pub fn seed(seed: u64) {
    SEEDED.with(|seeded| *seeded.borrow_mut() = Some(Chance::of(seed, "os", 0)));
}

/// # Safety
///
/// As the C library's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    let seeded = SEEDED.try_with(|seeded| {
        let Ok(mut chance) = seeded.try_borrow_mut() else { return false };
        let Some(chance) = chance.as_mut() else { return false };
        // SAFETY: the caller promises the room.
        let out = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
        out.chunks_mut(8).for_each(|part| part.copy_from_slice(&chance.draw().to_le_bytes()[..part.len()]));
        true
    });
    if seeded == Ok(true) {
        return length as isize;
    }
    // SAFETY: the system call that this function stands before.
    unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize }
}
