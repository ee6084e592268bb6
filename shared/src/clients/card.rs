//! Clients with what their transactions come to and the channels they are told over: what a client's page begins with.

use super::{model::Client, queries::ClientTotals};
use crate::{
    notifications::subscriptions::{ClientChannel, Contact, channels_of},
    schema::{client_failures, client_totals, clients},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A client, its totals and its channels.
#[derive(Debug, Clone)]
pub struct ClientCard {
    /// The client.
    pub client: Client,
    /// What its transactions come to, a row a currency; without those that failed.
    pub totals: Vec<ClientTotals>,
    /// When its first and its last transaction occurred, whatever became of them; `None` if it has none.
    pub active: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// All channels.
    pub channels: Vec<ClientChannel>,
}

type Row = (Client, Option<String>, Option<ClientTotals>, Option<(DateTime<Utc>, DateTime<Utc>)>);

/// The card of each; `None`: there is no such client.
pub async fn client_cards(
    conn: &mut AsyncPgConnection,
    ids: &[String],
) -> QueryResult<Vec<Option<ClientCard>>> {
    let rows: Vec<Row> = clients::table
        .left_join(client_totals::table.on(client_totals::client_id.eq(clients::client_id)))
        .left_join(client_failures::table.on(client_failures::client_id.eq(clients::client_id)))
        .filter(clients::client_id.eq_any(ids))
        .order((clients::client_id, client_totals::currency))
        .select((
            Client::as_select(),
            clients::webhook_url,
            Option::<ClientTotals>::as_select(),
            (client_failures::first_at, client_failures::last_at).nullable(),
        ))
        .load(conn)
        .await?;
    let mut cards: Vec<(ClientCard, Option<String>)> = Vec::with_capacity(ids.len());
    for (client, webhook, totals, failures) in rows {
        if cards.last().is_none_or(|(card, _)| card.client.client_id != client.client_id) {
            let card = ClientCard { client, totals: Vec::new(), active: failures, channels: Vec::new() };
            cards.push((card, webhook));
        }
        if let (Some(totals), Some((card, _))) = (totals, cards.last_mut()) {
            let (first, last) = card.active.unwrap_or((totals.first_at, totals.last_at));
            card.active = Some((first.min(totals.first_at), last.max(totals.last_at)));
            card.totals.push(totals);
        }
    }
    let contacts = cards.iter().map(|(card, webhook)| Contact {
        client_id: &card.client.client_id,
        email: card.client.email.as_deref(),
        phone: card.client.phone_number.as_deref(),
        telegram: card.client.telegram_chat_id.as_deref(),
        webhook: webhook.as_deref(),
    });
    let channels = channels_of(conn, &contacts.collect::<Vec<_>>()).await?;
    let whole = |((card, _), channels): ((ClientCard, _), _)| ClientCard { channels, ..card };
    let cards: Vec<ClientCard> = cards.into_iter().zip(channels).map(whole).collect();
    Ok(ids.iter().map(|id| cards.iter().find(|card| card.client.client_id == *id).cloned()).collect())
}
