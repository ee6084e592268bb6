//! How many files, and so connections, a server may have open: as many as the system lets it. Shells and
//! supervisors often give a soft limit of 1,024, which a thousand listeners exhaust.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as it goes without asking anybody.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        // Where the system says no, the limit stays what it was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}
