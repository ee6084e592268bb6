//! Being alive, and noticing who is not. A worker's lease is its heartbeat in the database, by the
//! database's clock; its runs live and die with it.

use crate::life::Life;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde_json::json;
use shared::{
    ids::ClaimToken,
    metrics,
    runs::{Queue, failures, queries, workers, workers::HeldRun},
    schedules::alerts,
};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Between looks at whether schedules fire.
const LOOK_AFTER_SCHEDULES: Duration = Duration::from_secs(15);
/// Between looks at what the record says of this worker's runs.
const WATCH: Duration = Duration::from_secs(1);

/// Renews the lease until the life ends.
pub(crate) async fn beat(life: Arc<Life>) {
    let mut ticks = tokio::time::interval(life.config.heartbeat);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let beaten = async {
            let mut conn = life.pool.get().await?;
            anyhow::Ok(workers::heartbeat(&mut conn, life.id).await?)
        };
        match beaten.await {
            Ok(true) => {}
            Ok(false) => return life.dead.cancel(),
            Err(error) => {
                tracing::warn!("no heartbeat: {error:#}");
                ticks.reset_after(life.config.heartbeat / 10);
            }
        }
    }
}

/// Compares, once a second, what this worker executes with what the record says it holds: passes on
/// requests to cancel, stops what it no longer holds, gives back claims whose answer never arrived.
pub(crate) async fn watch(life: Arc<Life>) {
    let mut ticks = tokio::time::interval(WATCH);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut strangers = HashSet::new();
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        let held = async {
            let mut conn = life.pool.get().await?;
            anyhow::Ok(workers::held_by(&mut conn, life.id).await?)
        };
        match held.await {
            Ok(held) => compare(&life, &held, asked, &mut strangers).await,
            Err(error) => tracing::debug!("cannot compare runs: {error:#}"),
        }
    }
}

async fn compare(life: &Life, held: &[HeldRun], asked: Instant, strangers: &mut HashSet<ClaimToken>) {
    let in_flight = life.in_flight().clone();
    let recorded: HashSet<ClaimToken> = held.iter().map(|run| run.claim_token).collect();
    for (token, run) in &in_flight {
        // Claimed after the question: the answer cannot know it.
        if run.claimed < asked && !recorded.contains(token) {
            tracing::debug!(run_id = %run.run_id, "no longer held");
            run.lost.cancel();
        }
    }
    let mut unknown = HashSet::new();
    for run in held {
        match in_flight.get(&run.claim_token) {
            Some(known) if run.cancel_requested => known.cancel.cancel(),
            Some(_) => {}
            None => {
                unknown.insert(run.claim_token);
            }
        }
    }
    // Seen twice, a second apart: not a claim on its way to a slot, nor a run just being closed.
    let lost: Vec<_> = held
        .iter()
        .filter(|run| unknown.contains(&run.claim_token) && strangers.contains(&run.claim_token))
        .collect();
    if !lost.is_empty() {
        let closings: Vec<_> = lost
            .iter()
            .map(|run| json!({"id": run.id, "token": run.claim_token, "outcome": "interrupted"}))
            .collect();
        let given_back = async {
            let mut conn = life.pool.get().await?;
            anyhow::Ok(queries::close_runs(&mut conn, &closings.into()).await?)
        };
        match given_back.await {
            Ok(runs) => tracing::warn!("{} claims had got lost on their way and were given back", runs.len()),
            Err(error) => tracing::warn!("lost claims cannot be given back yet: {error:#}"),
        }
    }
    *strangers = unknown;
}

/// Declares silent workers dead and gives their runs to others. After it was itself out of touch with
/// the database for two heartbeats (before its start it was) a worker waits a full lease before it
/// judges: others may only have had no time to speak.
pub(crate) async fn rescue(life: Arc<Life>) {
    let heartbeat = life.config.heartbeat;
    let mut ticks = tokio::time::interval(heartbeat / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut in_touch_since, mut last_contact) = (Instant::now(), Instant::now());
    loop {
        ticks.tick().await;
        let in_touch = last_contact.elapsed() <= heartbeat * 2;
        if in_touch
            && in_touch_since.elapsed() >= life.config.lease
            && let Err(error) = judge(&life).await
        {
            tracing::warn!("cannot judge who is alive: {error:#}");
            continue;
        }
        match take_over(&life).await {
            Ok(()) => {
                // It may have been asked before the database stood still, and answered only now.
                if last_contact.elapsed() > heartbeat * 2 {
                    in_touch_since = Instant::now();
                }
                last_contact = Instant::now();
            }
            Err(error) => tracing::warn!("cannot look after other workers: {error:#}"),
        }
    }
}

/// Declares dead who has been silent. If the database took longer than a heartbeat to answer, it stood
/// still for everybody: the judgement is taken back.
async fn judge(life: &Life) -> anyhow::Result<()> {
    let (asked, patience) = (Instant::now(), life.config.heartbeat);
    let mut pooled = life.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let judged = conn
        .transaction(async |conn| {
            let dead = workers::bury_silent(conn).await?;
            if asked.elapsed() > patience {
                return Err(diesel::result::Error::RollbackTransaction);
            }
            Ok(dead)
        })
        .await;
    let buried = match judged {
        Err(diesel::result::Error::RollbackTransaction) => {
            anyhow::bail!("the database took {:?} to answer", asked.elapsed())
        }
        judged => judged?,
    };
    metrics::workers_declared_dead(buried.len());
    for dead in buried {
        tracing::warn!(worker = %dead, "worker {dead} has been silent for its lease and is declared dead");
    }
    Ok(())
}

/// Ends what dead workers left open and gives their runs to others.
async fn take_over(life: &Life) -> anyhow::Result<()> {
    let mut conn = life.pool.get().await?;
    workers::end_connections_of_dead(&mut conn).await?;
    loop {
        let orphans = workers::orphaned(&mut conn).await?;
        if orphans.is_empty() {
            return Ok(());
        }
        let closings: Vec<_> = orphans.iter().map(crashed).collect();
        let rescued = queries::close_runs(&mut conn, &closings.into()).await?;
        metrics::runs_rescued(rescued.len());
        tracing::warn!("{} runs of dead workers were put back", rescued.len());
        Queue::ALL.iter().for_each(|&queue| life.doorbells.ring(queue, rescued.len() as u64));
    }
}

/// The closing of a run whose worker died.
fn crashed(run: &HeldRun) -> serde_json::Value {
    let error = "its worker died";
    let (fingerprint, message) = failures::fingerprint(&run.kind, error);
    json!({
        "id": run.id, "token": run.claim_token, "outcome": "crashed",
        "error": error, "fingerprint": fingerprint, "message": message,
    })
}

/// Notices schedules that are due and do not fire: if no scheduler works, nobody else would say so.
pub(crate) async fn look_after_schedules(life: Arc<Life>) {
    // Not at once: who has just started has perhaps started its scheduler just now, too.
    let first = tokio::time::Instant::now() + LOOK_AFTER_SCHEDULES;
    let mut ticks = tokio::time::interval_at(first, LOOK_AFTER_SCHEDULES);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looked = async {
            let mut conn = life.pool.get().await?;
            anyhow::Ok(alerts::watch(&mut conn).await?)
        };
        match looked.await {
            Ok(raised) => raised.iter().for_each(|alert| {
                tracing::error!(schedule = alert.subject, "schedule {}: {}", alert.subject, alert.message);
            }),
            Err(error) => tracing::debug!("cannot look after schedules: {error:#}"),
        }
    }
}
