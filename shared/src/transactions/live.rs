//! Transactions that come one by one, or a few at a time. What waits is loaded together, by the same path as a
//! chunk of a file; each sender is answered after the commit with what became of its own. A process that dies
//! before the commit has answered nobody: sent again, the same ids make it harmless.

use super::{
    accounts::{self, Unconverted},
    load::{self, LoadError, Source},
    model::{TransactionKind, TransactionStatus},
    parse::{Batch, FieldFault, FieldTexts, Reading},
    prepared::Prepared,
    prerequisites,
    versions::text,
};
use crate::{
    cache::Topic,
    db::LoadConnection,
    feed,
    gather::{AskError, BatchError, Gatherer, Load},
    ids::UploadId,
    ledger::postings::{self, Locked},
    metrics,
    runs::{CONTENTION_RETRIES, Environment, is_contention},
    uploads::UnknownClients,
};
use chrono::NaiveDate;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_postgres::{Client, Error, Transaction};
use uuid::Uuid;

/// Rows that are committed together, at most.
const LOADED_TOGETHER: usize = 2000;
/// Rows that may wait; beyond that senders are told to come again.
const ROOM: usize = 20_000;
/// Clients that a process remembers, at most.
const REMEMBERED: usize = 200_000;
/// Rows that come in one request, at most.
pub const MOST_ROWS: usize = 1000;
/// Pause before rows are tried again that an upload just takes back.
const UNDO_PAUSE: Duration = Duration::from_millis(200);
/// How often they are.
const UNDO_TRIES: u32 = 10;

/// Transactions that were sent together.
#[derive(Debug)]
pub struct Submission {
    batch: Batch,
    /// All of them or none.
    whole: bool,
    unknown_clients: UnknownClients,
}

impl Submission {
    /// An empty one. `whole` says that either all its transactions are loaded or none.
    pub fn new(whole: bool, unknown_clients: UnknownClients) -> Self {
        Self { batch: Batch::default(), whole, unknown_clients }
    }

    /// Adds a transaction, if its fields can be used.
    pub fn add(&mut self, fields: &FieldTexts<'_>, reading: &Reading) -> Result<(), FieldFault> {
        self.batch.add_fields(fields, reading)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.batch.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batch.rows.is_empty()
    }

    /// The transaction at a place, as it was sent.
    pub fn transaction(&self, at: usize) -> super::Transaction {
        super::Transaction::sent(&self.batch, &self.batch.rows[at])
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It was there, pending, and is decided now.
    Updated,
    /// It was there, the same.
    Duplicate,
    /// It was there, different: both versions, for people.
    Conflict(String),
    /// A field cannot be used.
    Rejected(FieldFault),
    /// Nothing is wrong with it; it was to be loaded with others, of which one cannot be.
    LeftOut,
}

impl Outcome {
    /// For programs, and for the metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Duplicate => "duplicate",
            Self::Conflict(_) => "conflict",
            Self::Rejected(_) => "rejected",
            Self::LeftOut => "left_out",
        }
    }

    fn prevents(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Rejected(_))
    }
}

/// Why a submission was not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LiveError {
    /// Too much waits.
    #[error("More transactions are waiting than can be taken in at once. Send it again in a moment.")]
    Busy,
    /// Rows of it are just being taken back.
    #[error("Rows of it stand in upload {0}, which is being taken back. Send it again when that is done.")]
    BeingUndone(UploadId),
    /// Nobody knows whether it was committed.
    #[error("Whether it was recorded is not known. Send it again: what is recorded already counts once.")]
    Unknown,
    /// PostgreSQL refused it.
    #[error("{0}")]
    Database(#[source] Arc<Error>),
    /// The cache could not be told.
    #[error("the cache could not be told: {0}")]
    Cache(Arc<diesel::result::Error>),
}

/// Where a process gathers what comes live.
pub struct LiveDesk {
    intake: Gatherer<Arc<Submission>, Vec<Outcome>, LiveError>,
    /// Months whose partitions exist: none is ever dropped.
    months: Mutex<HashSet<NaiveDate>>,
    /// Clients that exist: none is ever deleted.
    clients: Mutex<HashSet<String>>,
}

impl Default for LiveDesk {
    fn default() -> Self {
        Self {
            intake: Gatherer::new(LOADED_TOGETHER, ROOM),
            months: Mutex::default(),
            clients: Mutex::default(),
        }
    }
}

/// Loads a submission, together with what else waits; what became of each of its transactions, in their order.
/// What is `Created`, `Updated` or `Duplicate` is committed, with every summary, when this returns.
pub async fn take_in(env: &Arc<Environment>, submission: Arc<Submission>) -> Result<Vec<Outcome>, LiveError> {
    let load = match submission.whole {
        true => Load::alone(submission.len()),
        false => Load::of(submission.len()),
    };
    let means = env.clone();
    let work = move |submissions| {
        let env = means.clone();
        async move { load_together(&env, submissions).await }
    };
    let answer = env.live.intake.ask_with(submission, load, work).await;
    answer.map_err(|error| match error {
        AskError::Full => LiveError::Busy,
        AskError::Lost => LiveError::Unknown,
        AskError::Failed(error) => error,
    })
}

/// Why a batch was not loaded now.
#[derive(Debug)]
enum Cause {
    Load(LoadError),
    Cache(diesel::result::Error),
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self::Load(error.into())
    }
}

impl From<LoadError> for Cause {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

async fn load_together(
    env: &Environment,
    submissions: Vec<Arc<Submission>>,
) -> Result<Vec<Vec<Outcome>>, BatchError<LiveError>> {
    let (mut lost, mut waited) = (0, 0);
    loop {
        let error = match begin(env, &submissions).await {
            Ok(outcomes) => {
                outcomes.iter().flatten().for_each(|outcome| metrics::live_row(outcome.word()));
                return Ok(outcomes);
            }
            Err(Cause::Load(LoadError::BeingUndone(upload))) => {
                waited += 1;
                if waited == UNDO_TRIES {
                    return Err(BatchError::Some(LiveError::BeingUndone(upload)));
                }
                tokio::time::sleep(UNDO_PAUSE).await;
                continue;
            }
            Err(Cause::Load(LoadError::Database(error))) => error,
            Err(Cause::Cache(error)) => return Err(BatchError::All(LiveError::Cache(Arc::new(error)))),
        };
        lost += 1;
        if is_contention(&error) && lost < CONTENTION_RETRIES {
            tracing::info!(%error, lost, "another transaction was in the way of live rows; trying again");
            continue;
        }
        tracing::warn!(%error, "live rows were not loaded");
        return Err(match error.as_db_error() {
            // The server has looked at what it was sent and refused it: one row's fault is not the others'.
            Some(_) if !crate::db::is_outage_of(&error) => {
                BatchError::Some(LiveError::Database(Arc::new(error)))
            }
            _ => BatchError::All(LiveError::Unknown),
        });
    }
}

/// Loads on a connection of its own: one that failed is dropped, and with it the transaction.
async fn begin(env: &Environment, submissions: &[Arc<Submission>]) -> Result<Vec<Vec<Outcome>>, Cause> {
    let mut client = env.load_connections.take(prerequisites::SESSION).await?;
    let outcomes = load_all(env, &mut client, submissions).await?;
    env.load_connections.put_back(client);
    Ok(outcomes)
}

/// The rows of some submissions that are loaded together, and what became of those that are not.
struct Work {
    batch: Batch,
    /// Of each row of the batch, which of all rows it is.
    places: Vec<usize>,
    outcomes: Vec<Option<Outcome>>,
}

impl Work {
    fn of(submissions: &[Arc<Submission>]) -> Self {
        let mut batch = Batch::default();
        submissions.iter().for_each(|submission| batch.append(&submission.batch));
        let rows = batch.rows.len();
        Self { batch, places: (0..rows).collect(), outcomes: vec![None; rows] }
    }

    /// Takes rows out that cannot be used.
    fn reject(&mut self, mut fault: impl FnMut(&Batch, usize) -> Option<FieldFault>) {
        let faults: Vec<Option<FieldFault>> =
            (0..self.batch.rows.len()).map(|row| fault(&self.batch, row)).collect();
        if faults.iter().all(Option::is_none) {
            return;
        }
        let mut kept = faults.iter().map(Option::is_none);
        self.batch.rows.retain(|_| kept.next().unwrap_or(true));
        let places = std::mem::take(&mut self.places);
        for (place, fault) in places.into_iter().zip(faults) {
            match fault {
                Some(fault) => self.outcomes[place] = Some(Outcome::Rejected(fault)),
                None => self.places.push(place),
            }
        }
    }

    fn prevented(&self) -> bool {
        self.outcomes.iter().flatten().any(Outcome::prevents)
    }

    /// What became of the rows of each submission. A row of which nothing was said is as `otherwise`.
    fn answers(self, submissions: &[Arc<Submission>], otherwise: &Outcome) -> Vec<Vec<Outcome>> {
        let mut outcomes =
            self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| otherwise.clone()));
        submissions.iter().map(|submission| outcomes.by_ref().take(submission.len()).collect()).collect()
    }
}

async fn load_all(
    env: &Environment,
    client: &mut LoadConnection,
    submissions: &[Arc<Submission>],
) -> Result<Vec<Vec<Outcome>>, Cause> {
    // One that is to be loaded whole is alone.
    let whole = submissions.iter().any(|submission| submission.whole);
    let mut work = Work::of(submissions);
    ensure_clients(env, client, submissions, &mut work).await?;
    ensure_months(env, client, &work.batch).await?;
    if whole && work.prevented() {
        return Ok(work.answers(submissions, &Outcome::LeftOut));
    }
    let transaction = client.begin().await?;
    convert(env, &transaction, &mut work).await?;
    let prepared = Prepared::new(std::mem::take(&mut work.batch));
    let trades = prepared.batch.rows.iter().any(|row| is_trade(row.kind));
    let commit = trades.then(Uuid::now_v7);
    let source = Source::live(commit);
    let met = load::meet(&transaction, &prepared, source).await?;
    for conflict in met.conflicts() {
        work.outcomes[work.places[conflict.row]] = Some(Outcome::Conflict(conflict.message.clone()));
    }
    if whole && work.prevented() {
        return Ok(work.answers(submissions, &Outcome::LeftOut));
    }
    let accounts = match trades {
        true => {
            let rows = met.fresh().iter().chain(met.moves()).filter(|&&row| is_trade(prepared.row(row).kind));
            let clients: BTreeSet<&str> = rows.map(|&row| prepared.client(row)).collect();
            postings::lock_accounts(&transaction, &clients.into_iter().collect::<Vec<_>>()).await?
        }
        false => Locked::new(),
    };
    let fresh = met.fresh().to_vec();
    let loaded = load::add(&transaction, &prepared, met, source, env.settings.zone).await?;
    let moved: BTreeMap<u32, u32> = prepared.moved_within().collect();
    for (row, message) in contradicted(&transaction, &prepared, &loaded.duplicates, &moved).await? {
        work.outcomes[work.places[row as usize]] = Some(Outcome::Conflict(message));
    }
    if whole && work.prevented() {
        return Ok(work.answers(submissions, &Outcome::LeftOut));
    }
    if let Some(commit) = commit {
        postings::post_live(&transaction, commit, &prepared, &loaded.settled, &accounts).await?;
    }
    let topics = topics(&accounts, &prepared, &loaded.settled);
    let changing = env.cache.changing(&env.pool, &topics).await.map_err(Cause::Cache)?;
    // An error leaves what is kept of these accounts blocked: whether it has committed is not known.
    feed::commit_transactions(transaction, &prepared, fresh, &loaded.updated, &*env.clock).await?;
    changing.done().await;
    metrics::live_commit();
    for &row in &loaded.duplicates {
        work.outcomes[work.places[row as usize]].get_or_insert(Outcome::Duplicate);
    }
    for &row in &loaded.updated {
        // Of one that was sent pending, and decided by another sender of the same commit, that one is told so.
        let decided_by = moved.get(&row).copied().unwrap_or(row);
        work.outcomes[work.places[row as usize]] = Some(Outcome::Duplicate);
        work.outcomes[work.places[decided_by as usize]] = Some(Outcome::Updated);
    }
    Ok(work.answers(submissions, &Outcome::Created))
}

/// Those among rows that were there, the same but for what became of them: decided one way, sent as decided the other.
async fn contradicted(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    duplicates: &[u32],
    moved: &BTreeMap<u32, u32>,
) -> Result<Vec<(u32, String)>, Error> {
    // Who sends it pending sends again what came first.
    let decided: Vec<(u32, &str)> = duplicates
        .iter()
        .filter(|&row| prepared.row(*row).status != TransactionStatus::Pending && !moved.contains_key(row))
        .map(|&row| (row, text(prepared.row(row).transaction_id.of(&prepared.batch.text))))
        .collect();
    if decided.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = decided.iter().map(|(_, id)| *id).collect();
    let recorded = transaction.query(include_str!("decided.sql"), &[&ids]).await?;
    let recorded: BTreeMap<&str, &str> = recorded.iter().map(|row| (row.get(0), row.get(1))).collect();
    let contradictions = decided.into_iter().filter_map(|(row, id)| {
        let (there, here) = (*recorded.get(id)?, prepared.row(row).status.as_str());
        (there != here).then(|| {
            (row, format!("transaction {id} is already recorded as decided: recorded {there}; here {here}"))
        })
    });
    Ok(contradictions.collect())
}

fn is_trade(kind: TransactionKind) -> bool {
    matches!(kind, TransactionKind::Buy | TransactionKind::Sell)
}

/// Makes stubs of the clients that nobody knows; rejects their transactions where that is wanted.
async fn ensure_clients(
    env: &Environment,
    client: &LoadConnection,
    submissions: &[Arc<Submission>],
    work: &mut Work,
) -> Result<(), Error> {
    let mut clients: Vec<&str> =
        work.batch.rows.iter().map(|row| text(row.client_id.of(&work.batch.text))).collect();
    let remembered = || env.live.clients.lock().unwrap_or_else(PoisonError::into_inner);
    {
        let remembered = remembered();
        clients.retain(|client| !remembered.contains(*client));
    }
    if clients.is_empty() {
        return Ok(());
    }
    clients.sort_unstable();
    clients.dedup();
    let mut unknown: BTreeSet<String> =
        prerequisites::unknown_clients(client, &clients).await?.into_iter().collect();
    {
        let mut remembered = remembered();
        if remembered.len() + clients.len() > REMEMBERED {
            remembered.clear();
        }
        let known = clients.iter().filter(|client| !unknown.contains(**client));
        remembered.extend(known.map(|client| (*client).to_owned()));
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let creates: Vec<bool> = submissions
        .iter()
        .flat_map(|submission| {
            std::iter::repeat_n(submission.unknown_clients == UnknownClients::Create, submission.len())
        })
        .collect();
    let id_of = |batch: &Batch, row: usize| text(batch.rows[row].client_id.of(&batch.text)).to_owned();
    let made: BTreeSet<String> = (0..creates.len())
        .filter(|&row| creates[row])
        .map(|row| id_of(&work.batch, row))
        .filter(|client| unknown.contains(client))
        .collect();
    let made: Vec<&str> = made.iter().map(String::as_str).collect();
    prerequisites::ensure_clients(client, &made, &env.settings.currency).await?;
    // One that another sender makes just now is known to this one, too.
    made.iter().for_each(|client| {
        unknown.remove(*client);
    });
    work.reject(|batch, row| {
        let client = id_of(batch, row);
        unknown.contains(&client).then(|| FieldFault {
            field: "client_id",
            code: "unknown_client",
            message: format!(
                "{client:?} is not known; register the client first, or let unknown ones be created"
            ),
        })
    });
    Ok(())
}

async fn ensure_months(env: &Environment, client: &Client, batch: &Batch) -> Result<(), Error> {
    let months: BTreeSet<NaiveDate> =
        batch.rows.iter().map(|row| super::instant::first_of_month(row.occurred_us)).collect();
    let known = || env.live.months.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<NaiveDate> = {
        let known = known();
        months.into_iter().filter(|month| !known.contains(month)).collect()
    };
    if !missing.is_empty() {
        prerequisites::ensure_months(client, &missing).await?;
        known().extend(missing);
    }
    Ok(())
}

/// Converts buys and sells into the currencies of their accounts; rejects those that cannot be.
async fn convert(env: &Environment, transaction: &Transaction<'_>, work: &mut Work) -> Result<(), Error> {
    let currency = env.settings.currency.as_bytes().try_into().unwrap_or_default();
    let unconverted = accounts::convert(transaction, &mut work.batch, currency).await?;
    if !unconverted.is_empty() {
        work.reject(|_, row| {
            let Unconverted { code, message, .. } = unconverted.iter().find(|other| other.row == row)?;
            Some(FieldFault { field: "currency", code, message: format!(": {message}") })
        });
    }
    Ok(())
}

/// What is read in haste and changes with what took place.
fn topics(accounts: &Locked, prepared: &Prepared, settled: &[load::Settled]) -> Vec<Topic> {
    let moved: BTreeSet<&str> = settled.iter().map(|settled| prepared.client(settled.row)).collect();
    moved.into_iter().filter_map(|client| accounts.get(client)?.1.clone()).map(Topic::User).collect()
}
