//! A database per test, copied from a migrated template. It also has the table that the kinds of the
//! tests leave their effects in.

use crate::kinds::effects;
use shared::{
    config::{DatabaseConfig, SettingsConfig},
    db,
    settings::Settings,
};
use std::sync::OnceLock;
use tokio_postgres::{Client, NoTls, types::ToSql};

/// A database of a test's own; dropped with it.
pub struct TestDatabase {
    /// URL of the database.
    pub url: String,
    name: String,
    /// A connection for looking at the record.
    pub client: Client,
}

/// The URL of the server's database for administration.
fn server_url() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run the tests by ./run test")
}

/// The URL with another database. It may have an empty host (a socket), which the `url` crate refuses.
fn with_database(url: &str, name: &str) -> String {
    let (start, query) = url.split_once('?').map_or((url, None), |(start, query)| (start, Some(query)));
    let (server, _) = start.rsplit_once('/').expect("DATABASE_URL names a database");
    query.map_or(format!("{server}/{name}"), |query| format!("{server}/{name}?{query}"))
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

/// The template's name changes with the migrations, so that a kept server never serves an old schema.
fn template_name(zone: chrono_tz::Tz) -> String {
    use sha2::Digest;
    static SCHEMA: OnceLock<String> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let mut digest = sha2::Sha256::new();
        let mut entries: Vec<_> =
            walk(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations")));
        entries.sort();
        for path in entries {
            digest.update(std::fs::read(path).expect("a migration can be read"));
        }
        digest.update(effects::TABLE);
        hex::encode(&digest.finalize()[..6])
    });
    format!("template_{schema}_{}", zone.name().to_lowercase().replace('/', "_"))
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the migrations are there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

impl TestDatabase {
    /// A fresh, migrated database whose reporting zone is UTC.
    pub async fn create() -> Self {
        Self::create_in(chrono_tz::UTC).await
    }

    /// A fresh, migrated database.
    pub async fn create_in(zone: chrono_tz::Tz) -> Self {
        let server = connect(&server_url()).await;
        let template = template_name(zone);
        // One test makes the template, the others wait for it.
        server.batch_execute("SELECT pg_advisory_lock(7241002)").await.expect("lock");
        let known = server
            .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&template])
            .await
            .expect("pg_database");
        if known.is_none() {
            make_template(&server, &template, zone).await;
        }
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        server.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.expect("a copy");
        server.batch_execute("SELECT pg_advisory_unlock(7241002)").await.expect("unlock");
        let url = with_database(&server_url(), &name);
        let client = connect(&url).await;
        Self { url, name, client }
    }

    /// The configuration that names this database.
    pub fn config(&self) -> DatabaseConfig {
        DatabaseConfig { url: self.url.clone(), pool_size: 8 }
    }

    /// Another connection, for a transaction beside those of [`TestDatabase::client`].
    pub async fn session(&self) -> Client {
        connect(&self.url).await
    }

    /// One value.
    pub async fn one<T: for<'r> tokio_postgres::types::FromSql<'r>>(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> T {
        self.client.query_one(sql, params).await.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
    }

    /// Panics, showing rows, unless `sql` returns none.
    pub async fn expect_nothing(&self, sql: &str) {
        let rows =
            self.client.query(&format!("SELECT row_to_json(q)::text FROM ({sql}) q LIMIT 5"), &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let shown: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(shown.is_empty(), "{sql}\nreturned {shown:#?}");
    }
}

async fn make_template(server: &Client, template: &str, zone: chrono_tz::Tz) {
    let making = format!("making_{template}");
    server.batch_execute(&format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)")).await.expect("drop");
    server.batch_execute(&format!("CREATE DATABASE {making}")).await.expect("create");
    let config = DatabaseConfig { url: with_database(&server_url(), &making), pool_size: 1 };
    db::migrate(&config).await.expect("the migrations run");
    let pool = db::pool(&config, "template").expect("a pool");
    let settings = SettingsConfig { zone, currency: "USD".to_owned() };
    Settings::fix(&mut pool.get().await.expect("a connection"), &settings).await.expect("settings");
    pool.close();
    connect(&config.url).await.batch_execute(effects::TABLE).await.expect("the table of the effects");
    // A template must have no connections; renaming ends the race with those just closing.
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
    server.execute(end, &[&making]).await.expect("end connections");
    server.batch_execute(&format!("ALTER DATABASE {making} RENAME TO {template}")).await.expect("rename");
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = self.name.clone();
        // The test's runtime may be ending: drop the database from a thread with one of its own.
        let dropped = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let server = connect(&server_url()).await;
                let _ = server.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
            });
        });
        let _ = dropped.join();
    }
}
