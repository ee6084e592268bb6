//! Where memory comes from. Cells of a workbook, rows and pages are made on one thread and dropped on another, and the
//! C library's heaps make threads wait for each other then. mimalloc's do not; but it keeps what is free for a second,
//! which is two chunks more for each worker slot: after 10,000,000 rows a worker held 165 MiB.

use libmimalloc_sys::{mi_option_set_default, mi_option_t, mi_option_use_numa_nodes};
use std::ffi::c_long;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The binding has no name for it; in mimalloc's list it stands before the one that has.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;
/// Milliseconds that free memory is kept for.
const KEPT: c_long = 10;

/// Has free memory given back soon, unless `MIMALLOC_PURGE_DELAY` says when. Call it before there is a thread.
#[expect(unsafe_code, reason = "mimalloc offers it only as a C function")]
pub fn give_back_soon() {
    // SAFETY: it takes two integers and writes one of mimalloc's own settings, which no other thread reads yet.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::mi_option_get;

    #[test]
    #[expect(unsafe_code, reason = "mimalloc offers it only as a C function")]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: it reads an integer.
        let purge_delay = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(purge_delay(), 1000, "what mimalloc has by itself");
        give_back_soon();
        assert_eq!(purge_delay(), KEPT);
    }
}
