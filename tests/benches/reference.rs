//! The reference: plain server-side COPY of the same clean rows, in file order, into a table
//! partitioned by month.

use anyhow::ensure;
use std::{path::Path, time::Instant};
use tests::TestDatabase;

/// What the table carries besides its rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Primary key (transaction_id, occurred_at), index (client_id, occurred_at), foreign key to clients.
    Indexed,
    /// Nothing.
    Bare,
}

/// Columns of a form, in the order of its file, and where the client and the time are among them.
pub struct Columns {
    /// Definitions.
    pub definitions: &'static str,
    /// Name and number of the client's column.
    pub client: &'static str,
    /// Name of the time's column.
    pub time: &'static str,
}

/// Service E's form.
pub const FORM_E: Columns = Columns {
    definitions:
        "transaction_id text COLLATE \"C\" NOT NULL, client_id text COLLATE \"C\" NOT NULL, product_id text,
        occurred_at timestamptz NOT NULL, amount numeric(20,4) NOT NULL",
    client: "client_id",
    time: "occurred_at",
};

/// The wide form.
pub const FORM_WIDE: Columns = Columns {
    definitions: "transaction_id text COLLATE \"C\" NOT NULL, client_id text COLLATE \"C\" NOT NULL, kind text NOT NULL,
        occurred_at timestamptz NOT NULL, ticker text, stock_name text, shares numeric(20,4), price numeric(20,4),
        amount numeric(20,4) NOT NULL, currency text NOT NULL, status text NOT NULL, channel text, merchant_id text",
    client: "client_id",
    time: "occurred_at",
};

/// Seconds that COPY takes, on an empty table with its partitions made and its clients there.
pub async fn copy(file: &Path, rows: u64, columns: &Columns, table: Table) -> anyhow::Result<f64> {
    let db = TestDatabase::create().await;
    let client = &db.client;
    let Columns { definitions, client: client_column, time } = columns;
    client
        .batch_execute(&format!(
            "CREATE TABLE known_clients (client_id text COLLATE \"C\" PRIMARY KEY);
             CREATE TABLE reference ({definitions}) PARTITION BY RANGE ({time})"
        ))
        .await?;
    for month in 0..24 {
        let first =
            chrono::NaiveDate::from_ymd_opt(2024 + month / 12, month as u32 % 12 + 1, 1).expect("a date");
        let next = first + chrono::Months::new(1);
        client
            .batch_execute(&format!(
                "CREATE TABLE reference_{} PARTITION OF reference FOR VALUES FROM ('{first} UTC') TO ('{next} UTC')",
                first.format("%Y_%m")
            ))
            .await?;
    }
    let copy = format!("COPY reference FROM '{}' (FORMAT csv, HEADER)", file.display());
    client.batch_execute(&copy).await?;
    client
        .batch_execute(&format!(
            "INSERT INTO known_clients SELECT DISTINCT {client_column} FROM reference; TRUNCATE reference"
        ))
        .await?;
    if table == Table::Indexed {
        client
            .batch_execute(&format!(
                "ALTER TABLE reference ADD PRIMARY KEY (transaction_id, {time});
                 CREATE INDEX ON reference ({client_column}, {time});
                 ALTER TABLE reference ADD FOREIGN KEY ({client_column}) REFERENCES known_clients"
            ))
            .await?;
    }
    client.batch_execute("VACUUM ANALYZE known_clients").await?;
    client.batch_execute("CHECKPOINT").await?;
    let started = Instant::now();
    client.batch_execute(&copy).await?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(
        db.one::<i64>("SELECT count(*) FROM reference", &[]).await == rows.cast_signed(),
        "COPY lost rows"
    );
    Ok(seconds)
}
