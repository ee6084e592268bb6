//! Where memory comes from. Cells of a workbook, rows and pages are made on one thread and dropped on another, and the
//! C library's heaps make threads wait for each other then. mimalloc's do not; but it keeps what is free for a second,
//! which is two chunks more for each worker slot: after 10,000,000 rows a worker held 165 MiB.

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_option_t, mi_option_use_numa_nodes};
use std::ffi::c_long;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The binding has no name for it; in mimalloc's list it stands before the one that has.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;
/// Milliseconds by default.
const SECOND: c_long = 1000;
/// Milliseconds that free memory is kept for.
const KEPT: c_long = 10;

/// Has free memory given back soon, unless `MIMALLOC_PURGE_DELAY` says when.
#[expect(unsafe_code, reason = "mimalloc offers it only as a C function")]
pub fn give_back_soon() {
    // SAFETY: both take integers and touch only mimalloc's own settings; an option that is not there is ignored.
    unsafe {
        if mi_option_get(PURGE_DELAY) == SECOND {
            mi_option_set(PURGE_DELAY, KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "mimalloc offers it only as a C function")]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: as above.
        let purge_delay = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(purge_delay(), SECOND);
        give_back_soon();
        assert_eq!(purge_delay(), KEPT);
    }
}
