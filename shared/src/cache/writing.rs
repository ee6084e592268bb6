//! Writing: a topic is blocked before the commit that changes it, and gets another token after it.

use super::{Cache, Topic, reading::BLOCKED};
use crate::db::DbPool;

/// How long a block holds whose writer died, in seconds: longer than any commit takes.
const BLOCK_SECONDS: u64 = 120;
/// How long the new token lives, in seconds.
const TOKEN_SECONDS: u64 = 86_400;

/// A topic keeps another writer's block; anything else, also what a server brought back from before its death,
/// gives way to the new token.
const RELEASE: &str = "
for _, key in ipairs(KEYS) do
  local token = redis.call('GET', key)
  if not token or token == ARGV[1] or string.sub(token, 1, 1) ~= '!' then
    redis.call('SET', key, ARGV[2], 'EX', ARGV[3])
  end
end
return #KEYS";

/// Topics that are being changed. Call [`Changing::done`] once the transaction is known to have committed, or not to.
/// If that is not known (the connection broke in the commit, the process died) they stay blocked, and unread, for two
/// minutes: a commit that comes late finds nothing kept from before it.
#[must_use]
pub struct Changing<'c> {
    cache: &'c Cache,
    keys: Vec<String>,
    block: String,
}

impl Cache {
    /// Blocks topics. Call it within the transaction that changes them, when its locks are held, just before the
    /// commit. If Redis does not answer, no process reads the cache from when this returns until that is over.
    pub async fn changing(
        &self,
        pool: &DbPool,
        topics: &[Topic],
    ) -> Result<Changing<'_>, diesel::result::Error> {
        let mut changing = Changing {
            cache: self,
            keys: Vec::new(),
            block: format!("{BLOCKED}{}", uuid::Uuid::new_v4().simple()),
        };
        let Some(link) = &self.link else { return Ok(changing) };
        if topics.is_empty() {
            return Ok(changing);
        }
        let keys: Vec<String> = topics.iter().map(|topic| topic.key(&link.prefix)).collect();
        let blocked = async {
            let open = link.get().await?;
            let mut blocks = redis::pipe();
            for key in &keys {
                blocks.cmd("SET").arg(key).arg(&changing.block).arg("EX").arg(BLOCK_SECONDS).ignore();
            }
            link.send(&open, &blocks).await
        };
        match blocked.await {
            Some(()) => changing.keys = keys,
            None => self.trust.withdraw(pool).await?,
        }
        Ok(changing)
    }
}

impl Cache {
    /// Does `work`, which changes topics and commits, while they are blocked. `known` says of its outcome whether it
    /// is known to have committed, or not to.
    pub async fn change<T>(
        &self,
        pool: &DbPool,
        topics: &[Topic],
        known: impl FnOnce(&T) -> bool,
        work: impl Future<Output = T>,
    ) -> Result<T, diesel::result::Error> {
        let changing = self.changing(pool, topics).await?;
        let outcome = work.await;
        if known(&outcome) {
            changing.done().await;
        }
        Ok(outcome)
    }
}

impl Changing<'_> {
    /// Gives the topics new tokens: what was kept of them is forgotten. Where that cannot be said they stay
    /// blocked, until that runs out.
    pub async fn done(self) {
        let Some(link) = self.cache.link.as_ref().filter(|_| !self.keys.is_empty()) else { return };
        let Some(open) = link.get().await else { return };
        let script = redis::Script::new(RELEASE);
        let mut call = script.prepare_invoke();
        for key in &self.keys {
            call.key(key);
        }
        call.arg(&self.block).arg(uuid::Uuid::new_v4().simple().to_string()).arg(TOKEN_SECONDS);
        let _: Option<i64> = link.run(&open, &call).await;
    }
}
