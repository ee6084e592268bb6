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
pub struct Proven(Mutex<Proofs>);

#[derive(Default)]
struct Proofs {
    /// How often they were forgotten.
    forgotten: u64,
    kept: HashMap<[u8; 32], (Proof, Instant)>,
}

/// Whose proof is not known and is to be asked for.
pub struct Unproven {
    hash: [u8; 32],
    forgotten: u64,
    asked: Instant,
}

impl Proven {
    fn proofs(&self) -> MutexGuard<'_, Proofs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a text proved a moment ago.
    pub fn find(&self, text: &str, sent_as: SentAs) -> Result<Proof, Unproven> {
        let hash = hash(text, sent_as);
        let proofs = self.proofs();
        match proofs.kept.get(&hash) {
            Some((proof, asked)) if asked.elapsed() < KEPT => Ok(proof.clone()),
            _ => Err(Unproven { hash, forgotten: proofs.forgotten, asked: Instant::now() }),
        }
    }

    /// Keeps a proof for a moment, unless all were forgotten since it was asked for.
    pub fn keep(&self, unproven: Unproven, proof: &Proof) {
        let Unproven { hash, forgotten, asked } = unproven;
        let mut proofs = self.proofs();
        if proofs.forgotten != forgotten {
            return;
        }
        if proofs.kept.len() >= ROOM {
            proofs.kept.retain(|_, (_, asked)| asked.elapsed() < KEPT);
        }
        if proofs.kept.len() < ROOM {
            proofs.kept.insert(hash, (proof.clone(), asked));
        }
    }

    /// Forgets all of them: somebody may do less than before.
    pub fn forget(&self) {
        let mut proofs = self.proofs();
        proofs.forgotten += 1;
        proofs.kept.clear();
    }
}

fn hash(text: &str, sent_as: SentAs) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([sent_as as u8]);
    hash.update(text.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Principal;
    use shared::auth::Role;

    fn proof() -> Proof {
        Proof::Credential(Principal { name: "key:k".to_owned(), role: Role::Viewer, user_id: None })
    }

    #[test]
    fn a_proof_is_of_a_text_and_of_how_it_was_sent() {
        let proven = Proven::default();
        proven.keep(proven.find("text", SentAs::Key).err().unwrap(), &proof());
        assert!(matches!(proven.find("text", SentAs::Key), Ok(Proof::Credential(_))));
        assert!(proven.find("text", SentAs::Bearer).is_err() && proven.find("text", SentAs::Cookie).is_err());
    }

    #[test]
    fn what_was_asked_for_before_all_were_forgotten_is_not_kept() {
        let proven = Proven::default();
        let unproven = proven.find("text", SentAs::Cookie).err().unwrap();
        proven.forget();
        proven.keep(unproven, &proof());
        assert!(proven.find("text", SentAs::Cookie).is_err());
    }
}
