//! What a delivery reads and writes, many deliveries at a time: looks, the attempts' beginnings (on disk
//! before a provider is asked) and their ends (with the run's, in one transaction).

use super::{
    circuits::Sign,
    model::{AttemptOutcome, Circuit, CircuitState, DeliveryState, Forced},
};
use crate::{
    db::{LoadConnection, LoadTransaction},
    gather::{AskError, BatchError},
    ids::{ClaimToken, DeliveryId, EndpointId, RunId},
    metrics,
    runs::{CONTENTION_RETRIES, Closed, Environment, complete_runs, hold_runs, is_contention},
    transactions::prerequisites,
};
use chrono::{DateTime, Utc};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// Why a batch was not read or written; each that asked is told.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failure(#[source] pub Arc<Error>);

type Batch<R> = Result<Vec<R>, BatchError<Failure>>;

/// An attempt of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub run: RunId,
    pub token: ClaimToken,
    pub attempt: i32,
}

/// What there is to know of a delivery before it is sent.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub state: DeliveryState,
    pub run: Option<RunId>,
    pub address: String,
    pub permit_at: Option<DateTime<Utc>>,
    pub endpoint: Option<EndpointId>,
    pub endpoint_gone: bool,
    pub disabled: Option<String>,
    pub unwanted: bool,
    pub secrets: Vec<String>,
    pub title: String,
    pub body: String,
    pub html: Option<String>,
    pub payload: serde_json::Value,
    /// The provider that may have accepted it, and whether this run asked it: an earlier one's doubt was somebody's
    /// to decide, who has had it sent again.
    pub perhaps: Option<(String, bool)>,
    /// An attempt without an end, and the provider that it asked.
    pub open: Option<(i32, String)>,
}

/// An attempt that is about to begin.
#[derive(Debug, Clone)]
pub(super) struct Beginning {
    pub claim: Claim,
    pub delivery: DeliveryId,
    pub provider: String,
}

/// An attempt that has ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub claim: Claim,
    pub delivery: DeliveryId,
    pub number: i32,
    pub provider: String,
    pub duration_ms: Option<i32>,
    pub verdict: Verdict,
}

/// What follows from how an attempt ended.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    /// Where the delivery stands now.
    pub state: DeliveryState,
    pub outcome: AttemptOutcome,
    pub status_code: Option<u16>,
    pub response: Option<String>,
    pub error: Option<String>,
    /// What it says of the provider, by its circuit, if that is news.
    pub sign: Option<(String, Sign)>,
    /// An endpoint that wants to hear nothing more.
    pub disables: Option<EndpointId>,
}

async fn connection(env: &Environment) -> Result<LoadConnection, BatchError<Failure>> {
    env.load_connections.take(prerequisites::SESSION).await.map_err(all)
}

fn all(error: Error) -> BatchError<Failure> {
    BatchError::All(Failure(Arc::new(error)))
}

/// What the database has looked at and refused may be one item's fault; the rest is everybody's.
fn some(error: Error) -> BatchError<Failure> {
    match error.as_db_error() {
        Some(_) => BatchError::Some(Failure(Arc::new(error))),
        None => all(error),
    }
}

/// What there is to know of deliveries; nothing of one that is not there.
pub(super) async fn look(env: &Environment, ids: Vec<DeliveryId>) -> Batch<Option<Look>> {
    let conn = connection(env).await?;
    let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let statement = conn.prepared(include_str!("look.sql")).await.map_err(all)?;
    let rows = conn.query(&statement, &[&wanted]).await.map_err(some)?;
    env.load_connections.put_back(conn);
    let mut found: HashMap<Uuid, Look> = rows.iter().map(|row| (row.get("id"), look_of(row))).collect();
    Ok(ids.iter().map(|id| found.remove(&id.0)).collect())
}

fn look_of(row: &Row) -> Look {
    let secrets = [row.get::<_, Option<String>>("secret"), row.get("previous_secret")];
    let open: Option<i32> = row.get("open_number");
    let perhaps: Option<String> = row.get("perhaps_provider");
    Look {
        state: row.get::<_, &str>("state").parse().unwrap_or(DeliveryState::Unknown),
        run: row.get::<_, Option<Uuid>>("run_id").map(RunId),
        address: row.get("address"),
        permit_at: row.get("permit_at"),
        endpoint: row.get::<_, Option<Uuid>>("endpoint_id").map(EndpointId),
        endpoint_gone: row.get("endpoint_gone"),
        disabled: row.get("disabled_reason"),
        unwanted: row.get("unwanted"),
        secrets: secrets.into_iter().flatten().collect(),
        title: row.get("title"),
        body: row.get("body"),
        html: row.get("html"),
        payload: row.get("payload"),
        perhaps: perhaps
            .map(|provider| (provider, row.get::<_, Option<bool>>("perhaps_in_run") == Some(true))),
        open: open.zip(row.get("open_provider")),
    }
}

/// Puts attempts on record before they begin; the number of each, or nothing where the claim was lost or the
/// delivery is to be sent no more. Dying after it leaves the attempts open.
pub(super) async fn begin(env: &Environment, asked: Vec<Beginning>) -> Batch<Option<i32>> {
    let runs: Vec<Uuid> = asked.iter().map(|one| one.claim.run.0).collect();
    let tokens: Vec<Uuid> = asked.iter().map(|one| one.claim.token.0).collect();
    let deliveries: Vec<Uuid> = asked.iter().map(|one| one.delivery.0).collect();
    let attempts: Vec<i32> = asked.iter().map(|one| one.claim.attempt).collect();
    let providers: Vec<&str> = asked.iter().map(|one| one.provider.as_str()).collect();
    let mut lost = 0;
    loop {
        let conn = connection(env).await?;
        let statement = conn.prepared(include_str!("begin.sql")).await.map_err(all)?;
        match conn.query(&statement, &[&runs, &tokens, &deliveries, &attempts, &providers]).await {
            Ok(rows) => {
                env.load_connections.put_back(conn);
                let begun: HashMap<Uuid, i32> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
                return Ok(deliveries.iter().map(|id| begun.get(id).copied()).collect());
            }
            Err(error) if is_contention(&error) && lost < CONTENTION_RETRIES => lost += 1,
            Err(error) => return Err(some(error)),
        }
    }
}

/// Writes how attempts ended, with where their deliveries stand, what their providers' circuits make of it, and
/// the end of the runs whose message was accepted: one transaction. Dying before its commit leaves the attempts
/// open.
pub(super) async fn end(env: &Environment, ended: Vec<Arc<Ended>>) -> Batch<Option<Closed>> {
    let mut lost = 0;
    loop {
        let mut conn = connection(env).await?;
        match write(env, &mut conn, &ended).await {
            Ok((mut closed, circuits)) => {
                env.load_connections.put_back(conn);
                env.notifications.circuits.learn(circuits);
                for one in &ended {
                    metrics::delivery_attempt(&one.provider, one.verdict.outcome.as_str());
                }
                return Ok(ended.iter().map(|one| closed.remove(&one.claim.run)).collect());
            }
            Err(error) if is_contention(&error) && lost < CONTENTION_RETRIES => lost += 1,
            Err(error) => return Err(some(error)),
        }
    }
}

async fn write(
    env: &Environment,
    conn: &mut LoadConnection,
    ended: &[Arc<Ended>],
) -> Result<(HashMap<RunId, Closed>, Vec<Circuit>), Error> {
    let transaction = conn.begin().await?;
    let claims: Vec<(RunId, ClaimToken)> = ended.iter().map(|one| (one.claim.run, one.claim.token)).collect();
    let held: HashSet<RunId> = hold_runs(&transaction, &claims).await?.into_iter().collect();
    // Ascending, as everybody locks them, and before their attempts.
    let mut ids: Vec<Uuid> = ended.iter().map(|one| one.delivery.0).collect();
    ids.sort_unstable();
    let lock = "SELECT 1 FROM deliveries WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
    transaction.query(&transaction.prepared(lock).await?, &[&ids]).await?;
    end_attempts(&transaction, ended).await?;
    move_deliveries(&transaction, ended, &held).await?;
    let gone: Vec<Uuid> = ended.iter().filter_map(|one| Some(one.verdict.disables?.0)).collect();
    if !gone.is_empty() {
        transaction
            .execute(
                "UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'it answered 410 Gone'
                 WHERE id = ANY ($1) AND disabled_at IS NULL",
                &[&gone],
            )
            .await?;
    }
    let circuits = move_circuits(&transaction, ended, env.clock.now()).await?;
    let completed: Vec<_> = ended
        .iter()
        .filter(|one| one.verdict.state == DeliveryState::Delivered && held.contains(&one.claim.run))
        .map(|one| {
            (one.claim.run, one.claim.token, json!({ "delivery": one.delivery, "provider": one.provider }))
        })
        .collect();
    let closed = match completed.as_slice() {
        [] => Vec::new(),
        completed => complete_runs(&transaction, completed).await?,
    };
    transaction.commit().await?;
    Ok((closed.into_iter().collect(), circuits))
}

fn column<'e, T>(ended: &'e [Arc<Ended>], value: impl Fn(&'e Ended) -> T) -> Vec<T> {
    ended.iter().map(|one| value(one)).collect()
}

async fn end_attempts(transaction: &LoadTransaction<'_>, ended: &[Arc<Ended>]) -> Result<(), Error> {
    let statement = transaction.prepared(include_str!("end_attempts.sql")).await?;
    transaction
        .execute(
            &statement,
            &[
                &column(ended, |one| one.delivery.0),
                &column(ended, |one| one.number),
                &column(ended, |one| one.verdict.outcome.as_str()),
                &column(ended, |one| one.verdict.status_code.map(i32::from)),
                &column(ended, |one| one.duration_ms),
                &column(ended, |one| one.verdict.response.as_deref().map(storable)),
                &column(ended, |one| one.verdict.error.as_deref().map(storable)),
            ],
        )
        .await
        .map(|_| ())
}

/// PostgreSQL's text holds no NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

async fn move_deliveries(
    transaction: &LoadTransaction<'_>,
    ended: &[Arc<Ended>],
    held: &HashSet<RunId>,
) -> Result<(), Error> {
    let statement = transaction.prepared(include_str!("move_deliveries.sql")).await?;
    transaction
        .execute(
            &statement,
            &[
                &column(ended, |one| one.delivery.0),
                &column(ended, |one| one.number),
                &column(ended, |one| one.provider.as_str()),
                &column(ended, |one| one.verdict.state.as_str()),
                &column(ended, |one| one.verdict.error.as_deref().map(storable)),
                &column(ended, |one| held.contains(&one.claim.run)),
            ],
        )
        .await
        .map(|_| ())
}

/// Has circuits follow what the attempts say of them; those that are as they should be are not touched.
async fn move_circuits(
    transaction: &LoadTransaction<'_>,
    ended: &[Arc<Ended>],
    now: DateTime<Utc>,
) -> Result<Vec<Circuit>, Error> {
    let mut signs: BTreeMap<&str, Vec<&Sign>> = BTreeMap::new();
    for (name, sign) in ended.iter().filter_map(|one| one.verdict.sign.as_ref()) {
        signs.entry(name).or_default().push(sign);
    }
    let mut circuits = Vec::with_capacity(signs.len());
    for (name, signs) in signs {
        let row = transaction
            .query_one(
                "INSERT INTO circuits (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name
                 RETURNING failures, openings, state, forced, probe_at, hold_until, changed_at, changed_by, last_error",
                &[&name],
            )
            .await?;
        let mut circuit = Circuit {
            name: name.to_owned(),
            failures: row.get(0),
            openings: row.get(1),
            state: row.get::<_, &str>(2).parse().unwrap_or(CircuitState::Closed),
            forced: row.get::<_, Option<&str>>(3).and_then(|forced| forced.parse::<Forced>().ok()),
            probe_at: row.get(4),
            hold_until: row.get(5),
            changed_at: row.get(6),
            changed_by: row.get(7),
            last_error: row.get(8),
        };
        signs.iter().for_each(|sign| circuit.after(sign, now));
        transaction
            .execute(
                "UPDATE circuits SET failures = $2, openings = $3, state = $4, probe_at = $5, hold_until = $6,
                 changed_at = $7, changed_by = $8, last_error = $9 WHERE name = $1",
                &[
                    &circuit.name,
                    &circuit.failures,
                    &circuit.openings,
                    &circuit.state.as_str(),
                    &circuit.probe_at,
                    &circuit.hold_until,
                    &circuit.changed_at,
                    &circuit.changed_by,
                    &circuit.last_error.as_deref().map(storable),
                ],
            )
            .await?;
        circuits.push(circuit);
    }
    Ok(circuits)
}

/// Why an asker got no answer, for its run's record.
pub(super) fn why(error: AskError<Failure>) -> anyhow::Error {
    match error {
        AskError::Failed(failure) => anyhow::Error::new(failure),
        AskError::Full | AskError::Lost => anyhow::anyhow!("its batch stopped before it was answered"),
    }
}
