//! One client with what its transactions come to, by one statement: what its page begins with.

use super::{model::Client, queries::ClientTotals};
use crate::schema::{client_failures, client_totals, clients};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

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

/// A client's card; `None`: there is no such client.
pub async fn client_card(conn: &mut AsyncPgConnection, id: &str) -> QueryResult<Option<ClientCard>> {
    let rows: Vec<Row> = clients::table
        .left_join(client_totals::table.on(client_totals::client_id.eq(clients::client_id)))
        .left_join(client_failures::table.on(client_failures::client_id.eq(clients::client_id)))
        .filter(clients::client_id.eq(id))
        .order(client_totals::currency)
        .select((
            Client::as_select(),
            Option::<ClientTotals>::as_select(),
            (client_failures::first_at, client_failures::last_at).nullable(),
        ))
        .load(conn)
        .await?;
    let [(client, _, failures), ..] = rows.as_slice() else { return Ok(None) };
    let (client, failures) = (client.clone(), *failures);
    let totals: Vec<ClientTotals> = rows.into_iter().filter_map(|(_, totals, _)| totals).collect();
    let spans = totals.iter().map(|one| (one.first_at, one.last_at)).chain(failures);
    let active = spans.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    Ok(Some(ClientCard { client, totals, active }))
}
