//! `millrace queues` and `millrace kinds`: how they stand, pausing, resuming, limiting.

use crate::{access::Remote, client::Listing, output::say, table::Table, usage::Usage, words};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// Queues.
#[derive(Debug, Args)]
pub struct Queues {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Option<QueuesCommand>,
}

#[derive(Debug, Subcommand)]
enum QueuesCommand {
    /// How every queue stands (also without a word).
    List,
    /// Begin no more runs of a queue; what runs goes on.
    Pause(Pause),
    /// Begin its runs again.
    Resume {
        /// The queue.
        name: String,
    },
    /// Say how many of a queue may run at once on all workers together.
    Limit {
        /// The queue.
        name: String,
        /// A number, or `none` to lift the limit.
        #[arg(value_parser = limit)]
        limit: Limit,
    },
}

/// Kinds of job.
#[derive(Debug, Args)]
pub struct Kinds {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Option<KindsCommand>,
}

#[derive(Debug, Subcommand)]
enum KindsCommand {
    /// The kinds there are (also without a word).
    List,
    /// Begin no more runs of a kind; what runs goes on.
    Pause(Pause),
    /// Begin its runs again.
    Resume {
        /// The kind.
        name: String,
    },
}

/// What to pause, why and for how long.
#[derive(Debug, Args)]
struct Pause {
    /// Its name.
    name: String,
    /// Why, for whoever wonders.
    #[arg(long)]
    reason: Option<String>,
    /// Resume by itself at this time: 2026-11-20T18:00:00Z or "2026-11-20 18:00" (UTC).
    #[arg(long, value_parser = words::parse_time, value_name = "TIME", conflicts_with = "duration")]
    until: Option<DateTime<Utc>>,
    /// Resume by itself after this time: 90s, 15m, 2h, 3d, 1h30m.
    #[arg(long = "for", value_parser = words::parse_duration, value_name = "DURATION")]
    duration: Option<Duration>,
}

/// `None` lifts it.
type Limit = Option<u32>;

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(None),
        _ => match text.parse() {
            Ok(limit) if limit > 0 => Ok(Some(limit)),
            _ => Err("it is a number from 1, or `none`; to run nothing, pause the queue".to_owned()),
        },
    }
}

/// How a queue stands.
#[derive(Debug, Deserialize)]
struct QueueRow {
    queue: String,
    available: i64,
    oldest_wait_ms: Option<i64>,
    running: i64,
    later: i64,
    slots: i64,
    limit: Option<i64>,
    paused: Option<Paused>,
}

/// What a kind promises, and whether it is paused.
#[derive(Debug, Deserialize)]
struct KindRow {
    kind: String,
    queue: String,
    priority: i16,
    timeout_ms: u64,
    retry: KindRetry,
    paused: Option<Paused>,
}

#[derive(Debug, Deserialize)]
struct KindRetry {
    max_attempts: i32,
}

/// How something is paused.
#[derive(Debug, Deserialize)]
struct Paused {
    until: Option<DateTime<Utc>>,
    reason: Option<String>,
    by: Option<String>,
}

impl Paused {
    fn words(&self) -> String {
        let mut words = "paused".to_owned();
        if let Some(by) = &self.by {
            words.push_str(&format!(" by {by}"));
        }
        if let Some(until) = self.until {
            words.push_str(&format!(" until {} ({})", words::whole(until), words::relative(until)));
        }
        if let Some(reason) = &self.reason {
            words.push_str(&format!(": {reason}"));
        }
        words
    }
}

/// Carries out `millrace queues …`.
pub async fn queues(args: Queues) -> anyhow::Result<()> {
    let remote = &args.remote;
    match args.command.unwrap_or(QueuesCommand::List) {
        QueuesCommand::List => list_queues(remote).await,
        QueuesCommand::Pause(pause) => pause.carry_out(remote, "queues").await,
        QueuesCommand::Resume { name } => resume(remote, "queues", &name).await,
        QueuesCommand::Limit { name, limit } => {
            let client = remote.connect().await?;
            let body = json!({ "max_running": limit });
            let answer = client.send_json(Method::PUT, &["queues", &name, "limit"], Some(&body)).await?;
            say(match limit {
                _ if remote.json => answer.text().to_owned(),
                Some(limit) => {
                    format!("At most {limit} runs of queue {name} run at once, on all workers together.")
                }
                None => format!("Queue {name} has no limit."),
            });
            Ok(())
        }
    }
}

/// Carries out `millrace kinds …`.
pub async fn kinds(args: Kinds) -> anyhow::Result<()> {
    let remote = &args.remote;
    match args.command.unwrap_or(KindsCommand::List) {
        KindsCommand::List => list_kinds(remote).await,
        KindsCommand::Pause(pause) => pause.carry_out(remote, "kinds").await,
        KindsCommand::Resume { name } => resume(remote, "kinds", &name).await,
    }
}

impl Pause {
    async fn carry_out(&self, remote: &Remote, what: &str) -> anyhow::Result<()> {
        let until = self.until.or_else(|| Some(words::now() + self.duration?));
        if until.is_some_and(|until| until <= words::now()) {
            return Err(Usage::new("the time of --until is over"));
        }
        let client = remote.connect().await?;
        let body = json!({ "reason": self.reason, "until": until });
        let answer = client.post(&[what, &self.name, "pause"], Some(&body)).await?;
        let until = match until {
            Some(until) => format!("until {}", words::whole(until)),
            None => format!("until `millrace {what} resume {}`", self.name),
        };
        let said = format!("No more runs of {} {} begin {until}.", what.trim_end_matches('s'), self.name);
        say(if remote.json { answer.text() } else { &said });
        Ok(())
    }
}

async fn resume(remote: &Remote, what: &str, name: &str) -> anyhow::Result<()> {
    let answer = remote.connect().await?.post(&[what, name, "resume"], None).await?;
    let said = format!("Runs of {} {name} begin again.", what.trim_end_matches('s'));
    say(if remote.json { answer.text() } else { &said });
    Ok(())
}

async fn list_queues(remote: &Remote) -> anyhow::Result<()> {
    let answer = remote.connect().await?.get(&["queues"], &[]).await?;
    if remote.json {
        say(answer.text());
        return Ok(());
    }
    let mut table = Table::new(&["QUEUE", "WAIT", "OLDEST", "RUN", "SLOTS", "LIMIT", "LATER", "PAUSED"]);
    for item in answer.read::<Listing>()?.items {
        let queue: QueueRow = serde_json::from_value(item)?;
        let oldest = queue.oldest_wait_ms.filter(|_| queue.available > 0);
        let oldest = oldest.map(|ms| words::duration(Duration::from_millis(ms.max(0).unsigned_abs())));
        table.row([
            queue.queue,
            queue.available.to_string(),
            oldest.unwrap_or_default(),
            queue.running.to_string(),
            queue.slots.to_string(),
            queue.limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
            queue.later.to_string(),
            queue.paused.as_ref().map(Paused::words).unwrap_or_default(),
        ]);
    }
    table.print();
    Ok(())
}

async fn list_kinds(remote: &Remote) -> anyhow::Result<()> {
    let answer = remote.connect().await?.get(&["kinds"], &[]).await?;
    if remote.json {
        say(answer.text());
        return Ok(());
    }
    let mut table = Table::new(&["KIND", "QUEUE", "PRIORITY", "ATTEMPTS", "TIME LIMIT", "PAUSED"]);
    for item in answer.read::<Listing>()?.items {
        let kind: KindRow = serde_json::from_value(item)?;
        table.row([
            kind.kind,
            kind.queue,
            kind.priority.to_string(),
            kind.retry.max_attempts.to_string(),
            words::duration(Duration::from_millis(kind.timeout_ms)),
            kind.paused.as_ref().map(Paused::words).unwrap_or_default(),
        ]);
    }
    table.print();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::limit;

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!(limit("5"), Ok(Some(5)));
        assert_eq!(limit("none"), Ok(None));
        assert!(limit("0").unwrap_err().contains("pause"));
    }
}
