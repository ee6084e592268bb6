//! What must be there before rows are loaded: the months' partitions and the clients. Both are made in
//! short transactions of their own, so that parallel loads do not wait for each other's commits.

use crate::db::LoadConnection;
use chrono::NaiveDate;
use tokio_postgres::{Client, Error};

/// How a loading connection begins.
pub const SESSION: &str = include_str!("session.sql");

/// Makes the partitions that are missing. Attaching one blocks nobody.
pub async fn ensure_months(client: &Client, months: &[NaiveDate]) -> Result<(), Error> {
    let missing = client
        .query(
            "SELECT m FROM unnest($1::date[]) AS m
             WHERE to_regclass('transactions_' || to_char(m, 'YYYY_MM')) IS NULL ORDER BY m",
            &[&months],
        )
        .await?;
    for row in missing {
        client.execute("SELECT ensure_month($1)", &[&row.get::<_, NaiveDate>(0)]).await?;
    }
    Ok(())
}

/// Makes stubs of the clients that nobody knows; `clients` ascends.
pub async fn ensure_clients(client: &Client, clients: &[&str], currency: &str) -> Result<(), Error> {
    client
        .execute(
            "INSERT INTO clients (client_id, currency, stub)
             SELECT id, $2, true FROM unnest($1::text[]) AS id
             WHERE NOT EXISTS (SELECT 1 FROM clients c WHERE c.client_id = id)
             ON CONFLICT (client_id) DO NOTHING",
            &[&clients, &currency],
        )
        .await?;
    Ok(())
}

/// Those of `clients` that nobody knows.
pub async fn unknown_clients(client: &LoadConnection, clients: &[&str]) -> Result<Vec<String>, Error> {
    let statement = client
        .prepared(
            "SELECT id FROM unnest($1::text[]) AS id
             WHERE NOT EXISTS (SELECT 1 FROM clients c WHERE c.client_id = id)",
        )
        .await?;
    let rows = client.query(&statement, &[&clients]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
