//! The database: whether it can be worked with, and how what it holds stands.

use super::{Findings, Verdict};
use crate::{output::thousands, services::Services};
use chrono::TimeDelta;
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use shared::{
    clock::{Clock, SystemClock},
    db,
    runs::workers,
    schedules,
};

/// Clocks that differ by more make tokens and signatures look old, or of the future.
const CLOCK_SECONDS: i64 = 2;

#[derive(QueryableByName)]
struct Server {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = BigInt)]
    version_number: i64,
    #[diesel(sql_type = Bool)]
    is_replica: bool,
    #[diesel(sql_type = Text)]
    encoding: String,
    #[diesel(sql_type = Text)]
    fsync: String,
    #[diesel(sql_type = Text)]
    synchronous_commit: String,
    #[diesel(sql_type = BigInt)]
    locks: i64,
    #[diesel(sql_type = BigInt)]
    wal_mib: i64,
    #[diesel(sql_type = BigInt)]
    connections: i64,
    #[diesel(sql_type = BigInt)]
    most_connections: i64,
    #[diesel(sql_type = Text)]
    size: String,
    #[diesel(sql_type = Timestamptz)]
    now: chrono::DateTime<chrono::Utc>,
}

pub(super) async fn look(services: &Services, findings: &mut Findings) -> anyhow::Result<()> {
    let mut pooled = services.pool("millrace-doctor")?.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let before = SystemClock.now();
    let server: Server = diesel::sql_query(
        "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::bigint AS version_number,
                pg_is_in_recovery() AS is_replica, current_setting('server_encoding') AS encoding,
                current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
                current_setting('max_locks_per_transaction')::bigint AS locks,
                (SELECT setting::bigint FROM pg_settings WHERE name = 'max_wal_size') AS wal_mib,
                (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
                current_setting('max_connections')::bigint AS most_connections,
                pg_size_pretty(pg_database_size(current_database())) AS size, clock_timestamp() AS now",
    )
    .get_result(conn)
    .await?;
    let after = SystemClock.now();
    look_at_server(&server, findings);
    try_to_write(conn, findings).await;
    look_at_clock(server.now - (before + (after - before) / 2), findings);
    let schema = db::schema_state(conn).await?;
    if !schema.pending.is_empty() {
        findings.add(
            "migrations",
            Verdict::Fault,
            format!(
                "{} of this version are not applied, the first is {}",
                schema.pending.len(),
                schema.pending[0]
            ),
            "run `millrace migrate`",
        );
        // What comes now asks tables that may not be there.
        return Ok(());
    }
    match schema.unknown.as_slice() {
        [] => findings.ok("migrations", "all are applied"),
        unknown => findings.add(
            "migrations",
            Verdict::Warning,
            format!("a newer version has migrated the database ({})", unknown.join(", ")),
            "start that version here too; this one goes on as far as its notes on upgrading say",
        ),
    }
    look_at_partitions(conn, &server, findings).await?;
    look_at_runs(conn, findings).await
}

/// What went wrong, said once: an error of the pool repeats what it is made of.
pub(super) fn cause(error: &anyhow::Error) -> String {
    error.root_cause().to_string()
}

/// What helps against it.
pub(super) fn mend(found: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| found.contains(word));
    if has(&["certificate", "UnknownIssuer", "NotValidForName"]) {
        "let MILLRACE_CA name the authority that signed the server's certificate, and DATABASE_URL the host as the \
         certificate does"
    } else if has(&["too many connections", "remaining connection slots"]) {
        "raise max_connections (or the role's limit), or lower MILLRACE_DATABASE_POOL and the slots of workers"
    } else if has(&["password authentication", "no pg_hba.conf entry", "no password"]) {
        "see user and password of DATABASE_URL, and pg_hba.conf of the server"
    } else if has(&["permission denied"]) {
        "let the user of DATABASE_URL own the database and what is in it"
    } else if has(&["does not exist"]) {
        "see the names of user and database in DATABASE_URL; make the database, then run `millrace migrate`"
    } else if has(&["No space left", "disk is full"]) {
        "make room on PostgreSQL's disk: until then nothing can be recorded, and runs only wait"
    } else if has(&["read-only"]) {
        "let DATABASE_URL name the primary, and see default_transaction_read_only"
    } else {
        "see whether DATABASE_URL names the right host and port, and whether PostgreSQL runs"
    }
}

/// Writes a megabyte and takes it back: a full disk and a database that may only be read answer every question.
async fn try_to_write(conn: &mut AsyncPgConnection, findings: &mut Findings) {
    let written = async {
        conn.batch_execute(
            "BEGIN;
             CREATE TABLE doctor_was_here AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 1000);
             ROLLBACK",
        )
        .await
    };
    if let Err(error) = written.await {
        let found = format!("cannot be written to: {error}");
        let mend = mend(&found);
        findings.add("database", Verdict::Fault, found, mend);
        // Its transaction is over in any case.
        let _ = conn.batch_execute("ROLLBACK").await;
    }
}

fn look_at_server(server: &Server, findings: &mut Findings) {
    let found = format!("PostgreSQL {}, {}", server.version, server.size);
    if server.is_replica {
        findings.add(
            "database",
            Verdict::Fault,
            format!("{found}: a replica"),
            "let DATABASE_URL name the primary",
        );
    } else if server.version_number < 140_000 {
        findings.add("database", Verdict::Fault, found, "upgrade to PostgreSQL 14 or newer");
    } else if server.encoding != "UTF8" {
        let found = format!("{found}, encoding {}", server.encoding);
        findings.add("database", Verdict::Fault, found, "make the database anew with ENCODING 'UTF8'");
    } else {
        findings.ok("database", found);
    }
    for (name, value) in [("fsync", &server.fsync), ("synchronous_commit", &server.synchronous_commit)] {
        if value == "off" {
            findings.add(
                "durability",
                Verdict::Fault,
                format!("{name} is off: what was answered as recorded can be lost in a crash"),
                format!("set {name} = on"),
            );
        }
    }
    if server.locks < 1024 {
        findings.add(
            "settings",
            Verdict::Warning,
            format!("max_locks_per_transaction is {}: a query over many months can fail", server.locks),
            "set max_locks_per_transaction = 1024 and restart PostgreSQL",
        );
    }
    if server.wal_mib < 4096 {
        findings.add(
            "settings",
            Verdict::Warning,
            format!("max_wal_size is {} MiB: large loads are slowed by checkpoints", server.wal_mib),
            "set max_wal_size = 8GB, and checkpoint_timeout = 15min",
        );
    }
    let found = format!("{} of {} are taken", server.connections, server.most_connections);
    if server.connections * 10 > server.most_connections * 8 {
        findings.add(
            "connections",
            Verdict::Warning,
            found,
            "raise max_connections, or lower MILLRACE_DATABASE_POOL and the slots of workers",
        );
    } else {
        findings.ok("connections", found);
    }
}

fn look_at_clock(ahead: TimeDelta, findings: &mut Findings) {
    let found = format!("the database's clock is {} ms from this machine's", ahead.num_milliseconds());
    if ahead.abs() > TimeDelta::seconds(CLOCK_SECONDS) {
        findings.add(
            "clock",
            Verdict::Warning,
            found,
            "let both be set by NTP: runs and leases go by the database's, tokens and signatures by this machine's",
        );
    } else {
        findings.ok("clock", found);
    }
}

async fn look_at_partitions(
    conn: &mut AsyncPgConnection,
    server: &Server,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    #[derive(QueryableByName)]
    struct Partitions {
        #[diesel(sql_type = BigInt)]
        months: i64,
        #[diesel(sql_type = Nullable<Text>)]
        first: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        last: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        detached: Option<String>,
        #[diesel(sql_type = Bool)]
        has_default: bool,
    }
    let found: Partitions = diesel::sql_query(
        "SELECT count(i.inhrelid) AS months, min(c.relname::text) AS first, max(c.relname::text) AS last,
                (SELECT min(d.relname::text) FROM pg_class d
                 WHERE d.relkind = 'r' AND NOT d.relispartition AND d.relname ~ '^transactions_[0-9]{4}_[0-9]{2}$'
                   AND d.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'transactions'::regclass)) AS detached,
                EXISTS (SELECT 1 FROM pg_partitioned_table WHERE partrelid = 'transactions'::regclass AND partdefid <> 0) AS has_default
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'transactions'::regclass",
    )
    .get_result(conn)
    .await?;
    if let Some(name) = found.detached {
        findings.add(
            "partitions",
            Verdict::Fault,
            format!("{name} is not attached: its rows are in no figure, and its month cannot be loaded"),
            "look at what is in it, then attach it to transactions or drop it",
        );
    }
    if found.has_default {
        findings.add(
            "partitions",
            Verdict::Fault,
            "transactions has a default partition: months cannot be attached beside it",
            "move its rows to a month's partition and detach it",
        );
    }
    let range =
        found.first.zip(found.last).map(|(first, last)| format!(", {first} to {last}")).unwrap_or_default();
    let words = format!("{} months{range}", found.months);
    // Each has its index, and a query over all months locks both.
    if found.months * 2 > server.locks {
        findings.add(
            "partitions",
            Verdict::Warning,
            words,
            "raise max_locks_per_transaction above twice their number",
        );
    } else {
        findings.ok("partitions", words);
    }
    Ok(())
}

async fn look_at_runs(conn: &mut AsyncPgConnection, findings: &mut Findings) -> anyhow::Result<()> {
    match workers::count_live(conn).await? {
        0 => findings.add("workers", Verdict::Warning, "none is alive: runs wait", "start `millrace worker`"),
        alive => findings.ok("workers", format!("{alive} alive")),
    }
    match schedules::queries::leader(conn).await? {
        Some(leader) => findings.ok("schedulers", format!("{} leads", leader.name)),
        None => findings.add(
            "schedulers",
            Verdict::Warning,
            "none leads: no schedule fires, and the live feed is a second late",
            "start `millrace scheduler`",
        ),
    }
    #[derive(QueryableByName)]
    struct Standing {
        #[diesel(sql_type = BigInt)]
        overdue: i64,
        #[diesel(sql_type = BigInt)]
        failed: i64,
        #[diesel(sql_type = Bool)]
        has_admin: bool,
    }
    let standing: Standing = diesel::sql_query(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM runs WHERE state = 'available' AND run_at < now() - interval '5 minutes'
                                      LIMIT 10000) AS r) AS overdue,
                (SELECT count(*) FROM (SELECT 1 FROM runs WHERE state IN ('failed', 'discarded')
                                      AND finished_at > now() - interval '1 day' LIMIT 10000) AS r) AS failed,
                EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND disabled_at IS NULL) AS has_admin",
    )
    .get_result(conn)
    .await?;
    if standing.overdue > 0 {
        findings.add(
            "runs",
            Verdict::Warning,
            format!("{} have waited for more than five minutes", thousands(standing.overdue)),
            "`millrace runs show ID` says why each waits: a queue may be paused, or workers too few",
        );
    }
    if standing.failed > 0 {
        findings.add(
            "runs",
            Verdict::Warning,
            format!("{} failed within a day", thousands(standing.failed)),
            "`millrace failures`, or /ui/failures, shows them like by like",
        );
    }
    if standing.overdue == 0 && standing.failed == 0 {
        findings.ok("runs", "none waits for long, none failed within a day");
    }
    let alerts = schedules::alerts::list(conn, false, 100).await?;
    match alerts.as_slice() {
        [] => findings.ok("alerts", "none is open"),
        [last, ..] => findings.add(
            "alerts",
            Verdict::Warning,
            format!("{} open; the last: {}: {}", alerts.len(), last.subject, last.message),
            "look at /ui/schedules",
        ),
    }
    if !standing.has_admin {
        findings.add(
            "users",
            Verdict::Warning,
            "there is no administrator",
            "run `millrace create-admin --username NAME`",
        );
    }
    Ok(())
}
