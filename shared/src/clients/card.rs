//! Clients with what their transactions come to, by one statement: what a client's page begins with.

use super::{model::Client, queries::ClientTotals};
use crate::schema::{client_failures, client_totals, clients};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::HashMap;

/// A client and its totals.
#[derive(Debug, Clone)]
pub struct ClientCard {
    /// The client.
    pub client: Client,
    /// What its transactions come to, a row a currency; without those that failed.
    pub totals: Vec<ClientTotals>,
    /// When its first and its last transaction occurred, whatever became of them; `None` if it has none.
    pub active: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

type Row = (Client, Option<ClientTotals>, Option<(DateTime<Utc>, DateTime<Utc>)>);

/// The card of each; `None`: there is no such client.
pub async fn client_cards(
    conn: &mut AsyncPgConnection,
    ids: &[String],
) -> QueryResult<Vec<Option<ClientCard>>> {
    let rows: Vec<Row> = clients::table
        .left_join(client_totals::table.on(client_totals::client_id.eq(clients::client_id)))
        .left_join(client_failures::table.on(client_failures::client_id.eq(clients::client_id)))
        .filter(clients::client_id.eq_any(ids))
        .order(client_totals::currency)
        .select((
            Client::as_select(),
            Option::<ClientTotals>::as_select(),
            (client_failures::first_at, client_failures::last_at).nullable(),
        ))
        .load(conn)
        .await?;
    let mut cards: HashMap<String, ClientCard> = HashMap::with_capacity(ids.len());
    for (client, totals, failures) in rows {
        let card = cards.entry(client.client_id.clone()).or_insert_with(|| ClientCard {
            client,
            totals: Vec::new(),
            active: failures,
        });
        if let Some(totals) = totals {
            let (first, last) = card.active.unwrap_or((totals.first_at, totals.last_at));
            card.active = Some((first.min(totals.first_at), last.max(totals.last_at)));
            card.totals.push(totals);
        }
    }
    Ok(ids.iter().map(|id| cards.get(id).cloned()).collect())
}
