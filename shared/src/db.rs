//! Connections to PostgreSQL. Every connection of a process carries the process's id as
//! `application_name`, so that a dead worker's backends can be found and ended.

use crate::{config::DatabaseConfig, runs::RunError, tls};
use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use diesel_async::{
    AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection, pooled_connection::PoolableConnection,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use futures::future::BoxFuture;
use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_postgres::{Statement, Transaction, types::ToSql};
use tokio_util::task::AbortOnDropHandle;

/// The schema's history, compiled in.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations");

/// Each connection begins with this: PostgreSQL notices within a second that nobody waits for a statement
/// any more, ends it and lets go of its locks. Statements are short: compiling one would take longer than it does.
const SESSION: &str = "SET client_connection_check_interval = '1s'; SET jit = off";

/// A pool of connections.
#[derive(Clone)]
pub struct DbPool(managed::Pool<Connections>);

/// No connection could be had from a pool.
pub type PoolError = managed::PoolError<DbError>;

impl DbPool {
    /// A connection that nobody else uses; an error if there is none within 10 s. Boxed: the compiler makes the code
    /// of a future anew wherever it is awaited, and this one is all of connecting to PostgreSQL.
    pub fn get(&self) -> BoxFuture<'_, Result<DbConnection, PoolError>> {
        Box::pin(async { Ok(DbConnection(Some(self.0.get().await?))) })
    }

    /// How many connections there are and how many are in use.
    pub fn status(&self) -> deadpool::Status {
        self.0.status()
    }

    /// Closes the idle connections, and the others when they come back.
    pub fn close(&self) {
        self.0.close();
    }
}

/// A connection borrowed from a pool. One that is dropped within a transaction (its future was dropped)
/// does not go back: in the pool it would keep the transaction, and its locks, until somebody needs it.
pub struct DbConnection(Option<managed::Object<Connections>>);

impl Deref for DbConnection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.0.as_ref().expect("it is there until it is dropped").connection
    }
}

impl DerefMut for DbConnection {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.0.as_mut().expect("it is there until it is dropped").connection
    }
}

impl Drop for DbConnection {
    fn drop(&mut self) {
        if let Some(mut pooled) = self.0.take()
            && pooled.connection.is_broken()
        {
            drop(managed::Object::take(pooled));
        }
    }
}

/// Opens the connections of a pool.
pub struct Connections {
    url: String,
}

/// A connection and the task that moves its bytes, which ends with it. That the task has ended says that the
/// connection is closed, without a question to the server each time that one is taken.
pub struct Pooled {
    connection: AsyncPgConnection,
    driver: AbortOnDropHandle<()>,
}

impl managed::Manager for Connections {
    type Type = Pooled;
    type Error = DbError;

    async fn create(&self) -> Result<Pooled, DbError> {
        let (client, driver) = open(&self.url).await.map_err(|error| failed(&error))?;
        let driver = AbortOnDropHandle::new(driver);
        let mut connection = AsyncPgConnection::try_from(client).await.map_err(|error| failed(&error))?;
        connection.batch_execute(SESSION).await?;
        Ok(Pooled { connection, driver })
    }

    async fn recycle(&self, pooled: &mut Pooled, _: &Metrics) -> RecycleResult<DbError> {
        if pooled.driver.is_finished() || pooled.connection.is_broken() {
            return Err(RecycleError::message("it is closed"));
        }
        Ok(())
    }
}

/// The database could not be reached, or a connection not be had.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection.
    #[error("cannot connect to PostgreSQL: {0}")]
    Connect(String),
    /// A migration failed.
    #[error("migration failed: {0}")]
    Migrate(String),
    /// So many migrations of this version are not applied.
    #[error("{0} of this version's migrations are not applied: run `millrace migrate`")]
    Unmigrated(usize),
    /// A statement failed.
    #[error(transparent)]
    Query(#[from] diesel::result::Error),
}

impl From<PoolError> for DbError {
    fn from(error: PoolError) -> Self {
        Self::Connect(error.to_string())
    }
}

/// Whether an error says that PostgreSQL went away (stopped, restarted, cut the connection) rather than
/// that it refused something.
pub fn is_outage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        if let Some(error) = cause.downcast_ref::<tokio_postgres::Error>() {
            return is_outage_of(error);
        }
        // What a whole batch was told.
        if let Some(error) = cause.downcast_ref::<Arc<tokio_postgres::Error>>() {
            return is_outage_of(error);
        }
        if let Some(PoolError::Backend(_)) = cause.downcast_ref() {
            return true;
        }
        let error = match cause.downcast_ref::<RunError>() {
            Some(RunError::Database(error)) => Some(error),
            _ => cause.downcast_ref::<diesel::result::Error>(),
        };
        error.is_some_and(is_diesel_outage)
    })
}

/// The same of an error of its client.
pub(crate) fn is_outage_of(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        // Class 08 and 57P01..57P03: connection lost, server stopping or starting.
        Some(code) => code.code().starts_with("08") || code.code().starts_with("57P0"),
        None => error.is_closed() || is_io(error),
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// diesel keeps the message only.
pub(crate) fn is_diesel_outage(error: &diesel::result::Error) -> bool {
    use diesel::result::{DatabaseErrorKind as Kind, Error};
    let Error::DatabaseError(kind, info) = error else { return false };
    match kind {
        Kind::ClosedConnection => true,
        Kind::UnableToSendCommand => ["connection closed", "error communicating", "error connecting"]
            .iter()
            .any(|said| info.message().starts_with(said)),
        _ => ["terminating connection due to", "the database system is"]
            .iter()
            .any(|said| info.message().starts_with(said)),
    }
}

/// The URL with `application_name` set.
pub fn named_url(url: &str, application_name: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}application_name={application_name}")
}

/// A pool whose connections carry `application_name`. Connects on first use; waiting for a connection
/// ends with an error after 10 s.
pub fn pool(config: &DatabaseConfig, application_name: &str) -> Result<DbPool, DbError> {
    let url = named_url(&config.url, application_name);
    let pool = managed::Pool::builder(Connections { url })
        .max_size(config.pool_size)
        .wait_timeout(Some(Duration::from_secs(10)))
        .create_timeout(Some(Duration::from_secs(10)))
        .runtime(deadpool::Runtime::Tokio1)
        .build();
    pool.map(DbPool).map_err(|error| DbError::Connect(error.to_string()))
}

/// Connections for loading: diesel does not speak COPY. One that was returned after a commit is taken
/// again; one that is dropped (an error, a cancellation) closes and rolls back.
pub struct LoadConnections {
    url: String,
    idle: Mutex<Vec<LoadConnection>>,
}

/// A connection for loading. Dropped, it closes at once: left to itself it would wait for the answer to the
/// statement that nobody waits for any more.
pub struct LoadConnection {
    client: tokio_postgres::Client,
    statements: Statements,
    _driver: AbortOnDropHandle<()>,
}

/// Statements that a connection has prepared, by their text.
type Statements = Mutex<HashMap<String, Statement>>;

/// A transaction for loading.
pub struct LoadTransaction<'c> {
    transaction: Transaction<'c>,
    statements: &'c Statements,
}

impl<'c> Deref for LoadTransaction<'c> {
    type Target = Transaction<'c>;

    fn deref(&self) -> &Transaction<'c> {
        &self.transaction
    }
}

impl LoadTransaction<'_> {
    /// A statement that is run often, prepared once on this connection: PostgreSQL reads and plans it no more.
    pub async fn prepared(&self, statement: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(known) = known(self.statements, statement) {
            return Ok(known);
        }
        let made = self.transaction.prepare(statement).await?;
        keep(self.statements, statement, &made);
        Ok(made)
    }

    /// Commits.
    pub async fn commit(self) -> Result<(), tokio_postgres::Error> {
        self.transaction.commit().await
    }

    /// Commits after a last statement, whose answer is not waited for before: if it fails, nothing is committed.
    pub async fn commit_after(
        self,
        last: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), tokio_postgres::Error> {
        // A COMMIT behind an error is a ROLLBACK, which is no error of its own: the first one's is.
        let (last, committed) = tokio::join!(
            biased;
            self.transaction.execute(last, parameters),
            self.transaction.batch_execute("COMMIT"),
        );
        // There is no transaction any more that dropping it would have to roll back.
        std::mem::forget(self.transaction);
        last?;
        committed
    }
}

fn known(statements: &Statements, text: &str) -> Option<Statement> {
    statements.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned()
}

fn keep(statements: &Statements, text: &str, made: &Statement) {
    statements.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned(), made.clone());
}

impl LoadConnection {
    /// Begins a transaction.
    pub async fn begin(&mut self) -> Result<LoadTransaction<'_>, tokio_postgres::Error> {
        let transaction = self.client.transaction().await?;
        Ok(LoadTransaction { transaction, statements: &self.statements })
    }

    /// As [`LoadTransaction::prepared`], outside of one.
    pub async fn prepared(&self, statement: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(known) = known(&self.statements, statement) {
            return Ok(known);
        }
        let made = self.client.prepare(statement).await?;
        keep(&self.statements, statement, &made);
        Ok(made)
    }
}

impl Deref for LoadConnection {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &tokio_postgres::Client {
        &self.client
    }
}

impl DerefMut for LoadConnection {
    fn deref_mut(&mut self) -> &mut tokio_postgres::Client {
        &mut self.client
    }
}

impl LoadConnections {
    /// None yet.
    pub fn new(url: String) -> Self {
        Self { url, idle: Mutex::default() }
    }

    /// An idle connection, or a new one that ran `session`.
    pub async fn take(&self, session: &str) -> Result<LoadConnection, tokio_postgres::Error> {
        let idle = self.idle().pop();
        match idle {
            Some(connection) if !connection.is_closed() => Ok(connection),
            _ => {
                let (client, driver) = open(&self.url).await?;
                let connection = LoadConnection {
                    client,
                    statements: Statements::default(),
                    _driver: AbortOnDropHandle::new(driver),
                };
                connection.batch_execute(SESSION).await?;
                connection.batch_execute(session).await?;
                Ok(connection)
            }
        }
    }

    /// Takes back a connection without a transaction.
    pub fn put_back(&self, connection: LoadConnection) {
        self.idle().push(connection);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<LoadConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection outside every pool. Its driver task ends with the client.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    open(url).await.map(|(client, _)| client)
}

/// Why a connection failed, with the causes that its client leaves out.
fn failed(error: &(dyn std::error::Error + 'static)) -> DbError {
    let causes = std::iter::successors(Some(error), |error| error.source());
    DbError::Connect(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// The same for diesel.
pub async fn connect_alone(url: &str) -> Result<AsyncPgConnection, DbError> {
    let client = connect(url).await.map_err(|error| failed(&error))?;
    AsyncPgConnection::try_from(client).await.map_err(|error| failed(&error))
}

async fn open(url: &str) -> Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error> {
    let (client, connection) = tls::connect_postgres(url).await?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection outside the pool ended");
        }
    });
    Ok((client, driver))
}

/// Brings the schema up to date; returns the names of the migrations that ran. Safe to call from
/// several processes at once: an advisory lock lets one work and the others find nothing to do.
/// Needs a multi-thread runtime.
pub async fn migrate(config: &DatabaseConfig) -> Result<Vec<String>, DbError> {
    use diesel_async::RunQueryDsl;
    let mut connection = connect_alone(&named_url(&config.url, "millrace-migrate")).await?;
    // The lock belongs to the session and goes with it, also if the process dies. Asked for again and again: a session
    // that waits for it would hold a snapshot, for whose end CREATE INDEX CONCURRENTLY waits.
    let mut told = false;
    while !diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>("pg_try_advisory_lock(7241001)"))
        .get_result::<bool>(&mut connection)
        .await?
    {
        if !told {
            tracing::info!("another process is migrating: waiting for it");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::task::spawn_blocking(move || {
        let mut harness = AsyncMigrationHarness::new(connection);
        harness
            .run_pending_migrations(MIGRATIONS)
            .map(|done| done.iter().map(ToString::to_string).collect())
            .map_err(|error| DbError::Migrate(error.to_string()))
    })
    .await
    .map_err(|error| DbError::Migrate(error.to_string()))?
}

/// Fails unless the database has seen every migration of this version.
pub async fn require_schema(connection: &mut AsyncPgConnection) -> Result<(), DbError> {
    match schema_state(connection).await?.pending.len() {
        0 => Ok(()),
        count => Err(DbError::Unmigrated(count)),
    }
}

/// How a database's schema stands to this version.
#[derive(Debug, Clone)]
pub struct SchemaState {
    /// Migrations of this version that the database has not seen, in their order.
    pub pending: Vec<String>,
    /// Migrations that the database has seen and this version does not know: a newer one was here.
    pub unknown: Vec<String>,
}

/// Compares the migrations of this version with those that the database has seen.
pub async fn schema_state(connection: &mut AsyncPgConnection) -> Result<SchemaState, DbError> {
    use diesel::{
        QueryableByName,
        migration::{Migration, MigrationSource},
    };
    use diesel_async::RunQueryDsl;
    #[derive(QueryableByName)]
    struct Applied {
        #[diesel(sql_type = diesel::sql_types::Text)]
        version: String,
    }
    let is_fresh: bool = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
        "to_regclass('__diesel_schema_migrations') IS NULL",
    ))
    .get_result(connection)
    .await?;
    let applied: Vec<Applied> = if is_fresh {
        Vec::new()
    } else {
        diesel::sql_query("SELECT version FROM __diesel_schema_migrations ORDER BY version")
            .load(connection)
            .await?
    };
    let known: Vec<Box<dyn Migration<diesel::pg::Pg>>> =
        MIGRATIONS.migrations().map_err(|error| DbError::Migrate(error.to_string()))?;
    let known: Vec<(String, String)> = known
        .iter()
        .map(|migration| (migration.name().version().to_string(), migration.name().to_string()))
        .collect();
    let unknown = applied.iter().filter(|row| !known.iter().any(|(version, _)| *version == row.version));
    let unknown = unknown.map(|row| row.version.clone()).collect();
    let pending = known.into_iter().filter(|(version, _)| !applied.iter().any(|row| row.version == *version));
    Ok(SchemaState { pending: pending.map(|(_, name)| name).collect(), unknown })
}
