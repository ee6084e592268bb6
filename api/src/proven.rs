//! Callers that were proven a moment ago: programs send the same credential with each of thousands of requests a
//! second, a page's script asks for several things at once, and asking PostgreSQL each time would cost more than most
//! answers. A key that is revoked, a session that is ended, or a user that is disabled, by another process works here for
//! [`KEPT`] at most; by this one, no longer.

use crate::auth::Proof;
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

/// As what a text was sent: the same text is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentAs {
    /// An access token, or an API key in its place.
    Bearer,
    /// An API key.
    Key,
    /// A session's cookie.
    Cookie,
}

/// Proofs by the hash of what was sent: no secret is kept.
#[derive(Default)]
pub struct Proven(Mutex<HashMap<[u8; 32], (Proof, Instant)>>);

impl Proven {
    fn proofs(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Proof, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a text proved a moment ago.
    pub fn find(&self, text: &str, sent_as: SentAs) -> Option<Proof> {
        let proofs = self.proofs();
        let (proof, proven) = proofs.get(&hash(text, sent_as))?;
        (proven.elapsed() < KEPT).then(|| proof.clone())
    }

    /// Keeps a proof for a moment.
    pub fn keep(&self, text: &str, sent_as: SentAs, proof: &Proof) {
        let mut proofs = self.proofs();
        if proofs.len() >= ROOM {
            proofs.retain(|_, (_, proven)| proven.elapsed() < KEPT);
        }
        if proofs.len() < ROOM {
            proofs.insert(hash(text, sent_as), (proof.clone(), Instant::now()));
        }
    }

    /// Forgets all of them: somebody may do less than before.
    pub fn forget(&self) {
        self.proofs().clear();
    }
}

fn hash(text: &str, sent_as: SentAs) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([sent_as as u8]);
    hash.update(text.as_bytes());
    hash.finalize().into()
}
