//! Password hashing: argon2id with the crate's defaults (19 MiB, 2 passes), on one thread of its own
//! that keeps its memory. Allocated for each hash, on whichever thread is free, those 19 MiB would be
//! kept many times over by the allocator, and a flood of logins would take them all at once.

use super::error::AuthError;
use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use std::sync::OnceLock;
use tokio::sync::{mpsc, oneshot};

/// Hashes that may wait for the thread; who comes later waits to be let in.
const WAITING: usize = 64;

type Memory = Vec<Block>;
type Work = Box<dyn FnOnce(&mut Memory) + Send>;

static THREAD: OnceLock<mpsc::Sender<Work>> = OnceLock::new();

/// The hash of no one's password: compared with when the user is unknown, so that the answer takes
/// as long as for a known one.
static NOBODY: OnceLock<String> = OnceLock::new();

/// The password's hash in PHC form.
pub async fn hash(password: &str) -> Result<String, AuthError> {
    let password = password.to_owned();
    on_thread(move |memory| hash_now(memory, &password)).await?
}

/// Whether the password is the one hashed; without a hash it takes as long and says no.
pub async fn verify(password: &str, hash: Option<String>) -> Result<bool, AuthError> {
    let password = password.to_owned();
    on_thread(move |memory| match hash {
        Some(hash) => verify_now(memory, &password, &hash),
        None => {
            let nobody = match NOBODY.get() {
                Some(hash) => hash,
                None => {
                    let hash = hash_now(memory, "the password of nobody")?;
                    NOBODY.get_or_init(|| hash)
                }
            };
            verify_now(memory, &password, nobody).map(|_| false)
        }
    })
    .await?
}

fn hash_now(memory: &mut Memory, password: &str) -> Result<String, AuthError> {
    let mut salt = [0u8; 16];
    rand::fill(&mut salt);
    let params = Params::default();
    let output = derive(memory, &params, password, &salt, Params::DEFAULT_OUTPUT_LEN)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(crypto)?,
        salt: Some(Salt::new(&salt).map_err(crypto)?),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

/// With the parameters that the hash names: those of older hashes may differ. Outputs compare in
/// constant time.
fn verify_now(memory: &mut Memory, password: &str, hash: &str) -> Result<bool, AuthError> {
    let hash = PasswordHash::new(hash).map_err(crypto)?;
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
        return Ok(false);
    };
    let params = Params::try_from(&hash).map_err(crypto)?;
    let output = derive(memory, &params, password, salt, expected.len())?;
    Ok(hash.algorithm == Algorithm::Argon2id.ident() && output == *expected)
}

fn derive(
    memory: &mut Memory,
    params: &Params,
    password: &str,
    salt: &[u8],
    length: usize,
) -> Result<Output, AuthError> {
    let mut buffer = [0u8; Output::MAX_LENGTH];
    let output = buffer
        .get_mut(..length)
        .ok_or_else(|| crypto("an output of this length"))?;
    memory.resize(params.block_count(), Block::default());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.as_bytes(), salt, output, memory)
        .map_err(crypto)?;
    Output::new(output).map_err(crypto)
}

/// Runs `work` on the hashing thread and waits for it.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&mut Memory) -> T + Send + 'static,
) -> Result<T, AuthError> {
    let (answer, answered) = oneshot::channel();
    let job: Work = Box::new(move |memory| drop(answer.send(work(memory))));
    thread()?.send(job).await.map_err(crypto)?;
    answered.await.map_err(crypto)
}

fn thread() -> Result<&'static mpsc::Sender<Work>, AuthError> {
    if let Some(thread) = THREAD.get() {
        return Ok(thread);
    }
    let (sender, mut jobs) = mpsc::channel::<Work>(WAITING);
    std::thread::Builder::new()
        .name("password-hash".to_owned())
        .spawn(move || {
            let mut memory = Memory::new();
            while let Some(job) = jobs.blocking_recv() {
                job(&mut memory);
            }
        })
        .map_err(crypto)?;
    // Of two threads started at once, the one whose sender is dropped here ends.
    Ok(THREAD.get_or_init(|| sender))
}

fn crypto(error: impl std::fmt::Display) -> AuthError {
    AuthError::Crypto(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::{PasswordHasher, PasswordVerifier};

    #[tokio::test]
    async fn only_the_same_password_matches_its_hash() {
        let stored = hash("correct horse").await.unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(verify("correct horse", Some(stored.clone())).await.unwrap());
        assert!(!verify("battery staple", Some(stored)).await.unwrap());
        assert!(!verify("the password of nobody", None).await.unwrap());
    }

    #[tokio::test]
    async fn hashes_are_what_the_argon2_crate_makes_of_them() {
        let theirs = Argon2::default()
            .hash_password(b"correct horse")
            .unwrap()
            .to_string();
        assert!(verify("correct horse", Some(theirs)).await.unwrap());
        let small = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(64, 1, 1, Some(24)).unwrap(),
        );
        let theirs = small.hash_password(b"correct horse").unwrap().to_string();
        assert!(verify("correct horse", Some(theirs.clone())).await.unwrap());
        assert!(!verify("battery staple", Some(theirs)).await.unwrap());
        let ours = hash("correct horse").await.unwrap();
        assert!(
            Argon2::default()
                .verify_password(b"correct horse", ours.as_str())
                .is_ok()
        );
    }
}
