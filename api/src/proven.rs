//! Callers that were proven a moment ago: programs send the same credential with each of thousands of requests a
//! second, and asking PostgreSQL each time would cost more than most answers. A key that is revoked, or a user
//! that is disabled, by another process works here for [`KEPT`] at most; by this one, no longer.

use crate::auth::Principal;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a proof is believed.
const KEPT: Duration = Duration::from_secs(1);
/// Proofs that are kept, at most.
const ROOM: usize = 10_000;

/// Proofs by the hash of what was sent: no secret is kept.
#[derive(Default)]
pub struct Proven(Mutex<HashMap<[u8; 32], (Principal, Instant)>>);

impl Proven {
    fn proofs(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Principal, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller of a credential, if it was proven a moment ago. One that was sent as an API key is told from the
    /// same text as a token.
    pub fn find(&self, credential: &str, as_key: bool) -> Option<Principal> {
        let proofs = self.proofs();
        let (principal, proven) = proofs.get(&hash(credential, as_key))?;
        (proven.elapsed() < KEPT).then(|| principal.clone())
    }

    /// Keeps a proof for a moment.
    pub fn keep(&self, credential: &str, as_key: bool, principal: &Principal) {
        let mut proofs = self.proofs();
        if proofs.len() >= ROOM {
            proofs.retain(|_, (_, proven)| proven.elapsed() < KEPT);
        }
        if proofs.len() < ROOM {
            proofs.insert(hash(credential, as_key), (principal.clone(), Instant::now()));
        }
    }

    /// Forgets all of them: somebody may do less than before.
    pub fn forget(&self) {
        self.proofs().clear();
    }
}

fn hash(credential: &str, as_key: bool) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([u8::from(as_key)]);
    hash.update(credential.as_bytes());
    hash.finalize().into()
}
