//! How many heaps the C library keeps. By default it grows one for each of many threads, and each keeps
//! what its thread once needed: a worker held 168 MiB after 10,000,000 rows, with two heaps 75, no slower.
//! A variable of the environment could say the same, but only to a process that starts with it.

/// Chunks are parsed by few threads at once; more heaps only keep more memory.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: i32 = 2;

/// Bounds the heaps of this process, unless `MALLOC_ARENA_MAX` does. Call it before there is a thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library offers it only as a C function")]
pub fn bound() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: mallopt takes two integers and touches no memory of ours; no other thread exists yet. If
        // it refuses, everything works as before, with more memory.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, HEAPS) };
    }
}

/// Other C libraries have one heap, or no such setting.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn bound() {}
