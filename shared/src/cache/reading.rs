//! Reading: what is kept under the tokens of now, else what `read` finds, which is then kept.

use super::{Cache, Topic, link::Open};
use crate::{db::DbPool, metrics};
use serde::Serialize;

/// How long an answer is kept, in seconds.
const KEPT_SECONDS: u64 = 300;
/// How long a token lives: longer than whatever was kept under it.
const TOKEN_SECONDS: u64 = 86_400;
/// How a token begins that is blocked.
pub(super) const BLOCKED: char = '!';

/// How a read went, for the hit rate.
#[derive(Clone, Copy)]
enum Went {
    Hit,
    Miss,
    /// It may not, or cannot, be asked.
    Bypassed,
}

impl Went {
    const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypassed => "bypassed",
        }
    }
}

/// Where an answer belongs, for whoever finds it missing.
struct Place {
    open: Open,
    key: String,
    /// How a value must begin.
    stamp: String,
}

impl Cache {
    /// The JSON of an answer: kept, or what `read` returns now; nothing is kept of `None`. `entry` tells the
    /// answers of a topic apart.
    pub async fn json<T, E, F>(
        &self,
        pool: &DbPool,
        topic: &Topic,
        entry: &str,
        read: impl FnOnce() -> F,
    ) -> Result<Option<String>, E>
    where
        T: Serialize,
        E: From<serde_json::Error>,
        F: Future<Output = Result<Option<T>, E>>,
    {
        let place = match self.look(pool, topic, entry).await {
            Ok(json) => {
                metrics::cache_read(topic.word(), Went::Hit.word());
                return Ok(Some(json));
            }
            Err(place) => place,
        };
        let went = if place.is_some() { Went::Miss } else { Went::Bypassed };
        metrics::cache_read(topic.word(), went.word());
        let Some(found) = read().await? else { return Ok(None) };
        let json = serde_json::to_string(&found)?;
        if let (Some(link), Some(place)) = (&self.link, place) {
            let value = format!("{}{json}", place.stamp);
            let mut set = redis::cmd("SET");
            set.arg(place.key).arg(value).arg("EX").arg(KEPT_SECONDS);
            // Kept or not, the answer is the same.
            let _: Option<()> = link.ask(&place.open, &set).await;
        }
        Ok(Some(json))
    }

    /// What is kept, or where to keep it; neither if nothing may be read or kept now.
    async fn look(&self, pool: &DbPool, topic: &Topic, entry: &str) -> Result<String, Option<Place>> {
        let link = self.link.as_ref().ok_or(None)?;
        let epoch = self.trust.epoch(pool).await.ok_or(None)?;
        let (all, own) = (Topic::All.key(&link.prefix), topic.key(&link.prefix));
        let key = format!("{own}:={entry}");
        let found = link.look([all.clone(), own.clone(), key.clone()]).await.ok_or(None)?;
        let (open, [all_token, own_token, value]) = (found.open, found.values);
        let all_token = self.token(&open, &all, all_token).await.ok_or(None)?;
        let own_token = self.token(&open, &own, own_token).await.ok_or(None)?;
        let stamp = format!("{epoch}.{}.{all_token}.{own_token}\n", open.server);
        match value.and_then(|value| value.strip_prefix(&stamp).map(str::to_owned)) {
            // What was read a while ago, before a pause of the process, may have changed since.
            Some(_) if !self.trust.holds(epoch) => Err(None),
            Some(json) => Ok(json),
            None => Err(Some(Place { open, key, stamp })),
        }
    }

    /// A topic's token, a new one if it has none; none while it is blocked.
    async fn token(&self, open: &Open, key: &str, found: Option<String>) -> Option<String> {
        let token = match found {
            Some(token) => token,
            None => {
                let fresh = uuid::Uuid::new_v4().simple().to_string();
                let mut set = redis::cmd("SET");
                set.arg(key).arg(&fresh).arg("EX").arg(TOKEN_SECONDS).arg("NX");
                // Somebody else may have been quicker: then this read keeps nothing.
                let set: Option<String> = self.link.as_ref()?.ask(open, &set).await?;
                set.map(|_| fresh)?
            }
        };
        (!token.starts_with(BLOCKED)).then_some(token)
    }
}
