//! The record after a chaos: what was promised, and what is there.

use super::{Chaos, LIMIT, load::Accepted, locked};
use crate::kinds::effects::EXPECTED_ROWS;
use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// What a chaos showed.
#[derive(Debug)]
pub struct Verdict {
    /// Of the random choices.
    pub seed: u64,
    /// Faults by kind; in brackets what was seen besides.
    pub faults: BTreeMap<&'static str, u32>,
    /// Runs that were accepted, with the steps of flows.
    pub runs: i64,
    /// Runs that were accepted and are not there, or did not end as they should, or without effect.
    pub lost: i64,
    /// Runs with an effect more than once, or where there should be none.
    pub doubled: i64,
    /// Runs that did not end.
    pub stuck: i64,
    /// Longest time until the runs of a dead or frozen worker were in other hands.
    pub rescue_max: Duration,
    /// Rescues that were measured.
    pub rescues: usize,
    /// Workers that were declared dead although nobody had hurt them.
    pub buried_alive: i64,
    /// What else was wrong.
    pub complaints: Vec<String>,
    /// In all.
    pub took: Duration,
}

impl Verdict {
    /// Faults survived.
    pub fn faults(&self) -> u32 {
        self.faults.iter().filter(|(name, _)| !name.starts_with('(')).map(|(_, count)| count).sum()
    }

    /// Whether nothing was lost, doubled or stuck, nor anything else wrong.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.stuck == 0 && self.complaints.is_empty()
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "chaos with seed {}, {:.0} s:", self.seed, self.took.as_secs_f64())?;
        for (name, count) in &self.faults {
            writeln!(f, "  {count:5}  {name}")?;
        }
        writeln!(
            f,
            "  {:5}  runs accepted, {} lost, {} doubled, {} stuck",
            self.runs, self.lost, self.doubled, self.stuck
        )?;
        writeln!(
            f,
            "  {:5}  rescues, the longest after {:.1} s",
            self.rescues,
            self.rescue_max.as_secs_f64()
        )?;
        writeln!(f, "  {:5}  workers buried alive", self.buried_alive)?;
        self.complaints.iter().try_for_each(|complaint| writeln!(f, "  wrong: {complaint}"))
    }
}

/// Waits for what still runs, then counts.
pub(super) async fn judge(chaos: &Chaos, accepted: Accepted, started: Instant) -> Verdict {
    until_quiet(chaos).await;
    let fleet = &chaos.fleet;
    fleet.execute("CREATE TABLE acknowledged (id uuid PRIMARY KEY); CREATE TABLE unanswered (id uuid PRIMARY KEY); CREATE TABLE cancelled (id uuid)").await;
    for (table, ids) in [
        ("acknowledged", &accepted.acknowledged),
        ("unanswered", &accepted.unanswered),
        ("cancelled", &accepted.cancelled),
    ] {
        for ids in ids.chunks(500) {
            let values: Vec<String> = ids.iter().map(|id| format!("('{id}')")).collect();
            fleet.execute(&format!("INSERT INTO {table} VALUES {}", values.join(","))).await;
        }
    }
    fleet
        .execute(&format!(
            "CREATE VIEW judged AS
             SELECT r.id, r.kind, r.state, r.attempt, r.finished_at, {EXPECTED_ROWS} AS expected,
                    r.flow_id IN (SELECT id FROM cancelled) AS may_be_cancelled,
                    coalesce(e.rows, 0) AS rows, coalesce(e.different, 0) AS different, coalesce(e.attempts, 0) AS attempts
             FROM runs r LEFT JOIN (
                 SELECT run_id, count(*) AS rows, count(DISTINCT n) AS different, count(DISTINCT attempt) AS attempts
                 FROM chaos_effects GROUP BY 1) AS e ON e.run_id = r.id"
        ))
        .await;
    for (sql, complaint) in COMPLAINTS {
        let count = fleet.number(&format!("SELECT count(*) AS value FROM ({sql}) AS q")).await;
        if count > 0 {
            chaos.complain(format!("{count} {complaint}"));
        }
    }
    let most = chaos.most_running.load(Ordering::Relaxed);
    if most > LIMIT {
        chaos.complain(format!("{most} runs ran at once where {LIMIT} may"));
    }
    let (rescues, faults) = (locked(&chaos.rescues).clone(), locked(&chaos.faults).clone());
    let buried_alive = buried_alive(chaos).await;
    let complaints = locked(&chaos.complaints).clone();
    Verdict {
        seed: chaos.plan.seed,
        faults,
        runs: fleet.number("SELECT count(*) AS value FROM runs").await,
        lost: fleet.number(LOST).await,
        doubled: fleet.number(DOUBLED).await,
        stuck: fleet.number("SELECT count(*) AS value FROM runs WHERE finished_at IS NULL").await,
        rescue_max: rescues.iter().max().copied().unwrap_or_default(),
        rescues: rescues.len(),
        buried_alive,
        complaints,
        took: started.elapsed(),
    }
}

/// Waits until all runs have ended, or until nothing has moved for three leases (and half a minute).
async fn until_quiet(chaos: &Chaos) {
    let patience = chaos.plan.lease * 3 + Duration::from_secs(30);
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    let (mut before, mut moved) = ((-1, -1), Instant::now());
    while moved.elapsed() < patience {
        ticks.tick().await;
        let open =
            chaos.fleet.try_number("SELECT count(*) AS value FROM runs WHERE finished_at IS NULL").await;
        let ended = chaos
            .fleet
            .try_number("SELECT count(*) AS value FROM run_attempts WHERE finished_at IS NOT NULL")
            .await;
        let (Ok(open), Ok(ended)) = (open, ended) else { continue };
        if open == 0 {
            return;
        }
        if (open, ended) != before {
            (before, moved) = ((open, ended), Instant::now());
        }
    }
}

/// Workers that are dead to the others, of processes that were neither killed nor frozen.
async fn buried_alive(chaos: &Chaos) -> i64 {
    let doomed: Vec<String> = locked(&chaos.doomed).iter().map(u32::to_string).collect();
    let doomed = if doomed.is_empty() { "0".to_owned() } else { doomed.join(",") };
    let sql = format!("SELECT count(*) AS value FROM workers WHERE state = 'dead' AND pid NOT IN ({doomed})");
    chaos.fleet.number(&sql).await
}

const LOST: &str = "SELECT
    (SELECT count(*) FROM acknowledged a WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = a.id))
  + (SELECT count(*) FROM judged WHERE finished_at IS NOT NULL AND state <> 'completed'
                                   AND NOT (state = 'cancelled' AND may_be_cancelled))
  + (SELECT count(*) FROM judged WHERE state = 'completed' AND different < expected) AS value";

const DOUBLED: &str = "SELECT
    (SELECT count(*) FROM judged WHERE rows > different OR rows > expected OR attempts > 1
                                    OR (state <> 'completed' AND rows > 0))
  + (SELECT count(*) FROM chaos_effects e WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = e.run_id)) AS value";

/// What must not be there, and how it is called.
const COMPLAINTS: &[(&str, &str)] = &[
    (
        "SELECT 1 FROM judged j WHERE rows <> CASE WHEN state = 'completed' THEN expected ELSE 0 END",
        "runs with a part of their effects",
    ),
    ("SELECT 1 FROM queue_slots WHERE run_id IS NOT NULL", "slots still held"),
    (
        "SELECT 1 FROM (SELECT count(*) AS n FROM queue_slots) s, queue_limits l WHERE s.n <> l.max_running",
        "limits without as many slots",
    ),
    ("SELECT 1 FROM run_attempts WHERE finished_at IS NULL", "attempts still open"),
    (
        "SELECT 1 FROM runs r WHERE r.attempt <> (SELECT count(*) FROM run_attempts a WHERE a.run_id = r.id)",
        "runs with attempts that were not recorded",
    ),
    (
        "SELECT 1 FROM (SELECT DISTINCT run_id, attempt FROM chaos_effects) e
         LEFT JOIN run_attempts a USING (run_id, attempt) WHERE a.outcome IS DISTINCT FROM 'completed'",
        "effects of attempts that did not complete",
    ),
    ("SELECT 1 FROM runs WHERE unique_held", "unique keys still held"),
    ("SELECT 1 FROM runs WHERE state = 'running' OR worker_id IS NOT NULL", "runs still in a worker's hands"),
    (
        "SELECT 1 FROM runs p WHERE blocked_by <> (SELECT count(*) FROM runs c
             WHERE c.parent_id = p.id AND c.finished_at IS NULL)",
        "parents that wait for another number of children than there are",
    ),
];
