//! Who has the most, and what it is made of, from the summaries alone.

use super::{KeptAnswers, arithmetic};
use crate::{
    fixed::Fixed,
    schema::clients,
    summaries::{
        answers::changes,
        queries::{FIRST_DAY, LAST_DAY},
    },
};
use chrono::NaiveDate;
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Date, Nullable, Numeric, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use std::{collections::HashMap, sync::Arc};

text_enum! {
    /// What is compared.
    TopBy {
        /// Amounts: of a merchant all that it took in or paid back, of a client its lifetime spend.
        Amount = "amount",
        /// How many transactions.
        Count = "count",
    }
}

/// Days, both of which belong to it, and a currency.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RangeQuery {
    /// The first day, in the reporting zone.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub to: Option<NaiveDate>,
    /// Only this currency; each by itself if absent.
    pub currency: Option<String>,
}

/// What is ranked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopQuery {
    /// The first day, in the reporting zone.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub to: Option<NaiveDate>,
    /// In this currency.
    pub currency: String,
    /// By what.
    pub by: TopBy,
    /// How many at most.
    pub limit: i64,
}

/// A merchant's transactions in one currency.
#[derive(Debug, Clone, QueryableByName)]
pub struct TopMerchant {
    /// The merchant.
    #[diesel(sql_type = Text)]
    pub merchant_id: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// Their amounts, added.
    #[diesel(sql_type = Numeric)]
    pub sum: Decimal,
}

/// A client's transactions in one currency, since its first.
#[derive(Debug, Clone)]
pub struct TopClient {
    /// The client.
    pub client_id: String,
    /// Its name, if known.
    pub name: Option<String>,
    /// How many.
    pub count: i64,
    /// Buys and payments.
    pub spent: Decimal,
    /// Sells and refunds.
    pub gained: Decimal,
}

/// A place in the ranking of clients. Only that is kept: a name may change without a summary.
#[derive(Debug, QueryableByName)]
pub(super) struct ClientPlace {
    #[diesel(sql_type = Text)]
    client_id: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Numeric)]
    spent: Decimal,
    #[diesel(sql_type = Numeric)]
    gained: Decimal,
}

/// Transactions of one kind in one currency.
#[derive(Debug, Clone, QueryableByName)]
pub struct Breakdown {
    /// ISO 4217 code.
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// buy, sell, payment or refund.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// Their amounts, added.
    #[diesel(sql_type = Numeric)]
    pub sum: Decimal,
    /// The smallest.
    #[diesel(sql_type = Numeric)]
    pub min: Decimal,
    /// The largest.
    #[diesel(sql_type = Numeric)]
    pub max: Decimal,
}

impl Breakdown {
    /// `sum / count`, half to even.
    pub fn mean(&self) -> Decimal {
        arithmetic::mean(self.sum, self.count)
    }
}

/// The merchants with the most, the first first.
pub async fn top_merchants(
    conn: &mut AsyncPgConnection,
    kept: &KeptAnswers,
    query: &TopQuery,
) -> QueryResult<Arc<Vec<TopMerchant>>> {
    let changes = changes(conn).await?;
    let statement = diesel::sql_query(
        "SELECT merchant_id, sum(count)::bigint AS count, sum(sum)::numeric(28,4) AS sum
         FROM merchant_days WHERE day >= $1 AND day <= $2 AND currency = $3
         GROUP BY merchant_id
         ORDER BY CASE WHEN $4 THEN sum(count) ELSE sum(sum) END DESC, merchant_id
         LIMIT $5",
    )
    .bind::<Date, _>(query.from.unwrap_or(FIRST_DAY))
    .bind::<Date, _>(query.to.unwrap_or(LAST_DAY))
    .bind::<Text, _>(&query.currency)
    .bind::<Bool, _>(query.by == TopBy::Count)
    .bind::<BigInt, _>(query.limit);
    kept.merchants.answer(changes, query.clone(), Fixed(statement).load(conn)).await
}

/// The clients with the most since their first transaction, the first first.
pub async fn top_clients(
    conn: &mut AsyncPgConnection,
    kept: &KeptAnswers,
    currency: &str,
    by: TopBy,
    limit: i64,
) -> QueryResult<Vec<TopClient>> {
    let changes = changes(conn).await?;
    let statement = diesel::sql_query(
        "SELECT client_id, count, spent, gained FROM client_totals WHERE currency = $1
         ORDER BY CASE WHEN $2 THEN count ELSE spent END DESC, client_id LIMIT $3",
    );
    let bound =
        statement.bind::<Text, _>(currency).bind::<Bool, _>(by == TopBy::Count).bind::<BigInt, _>(limit);
    let key = (currency.to_owned(), by, limit);
    let places: Arc<Vec<ClientPlace>> =
        kept.clients.answer(changes, key, Fixed(bound).load(&mut *conn)).await?;
    let names: HashMap<String, Option<String>> = clients::table
        .filter(clients::client_id.eq_any(places.iter().map(|place| &place.client_id)))
        .select((clients::client_id, clients::name))
        .load::<(String, Option<String>)>(conn)
        .await?
        .into_iter()
        .collect();
    let client = |place: &ClientPlace| TopClient {
        client_id: place.client_id.clone(),
        name: names.get(&place.client_id).cloned().flatten(),
        count: place.count,
        spent: place.spent,
        gained: place.gained,
    };
    Ok(places.iter().map(client).collect())
}

/// What there is of each kind, by currency.
pub async fn breakdown(
    conn: &mut AsyncPgConnection,
    kept: &KeptAnswers,
    query: &RangeQuery,
) -> QueryResult<Arc<Vec<Breakdown>>> {
    let changes = changes(conn).await?;
    let statement = diesel::sql_query(
        "SELECT currency, kind, sum(count)::bigint AS count, sum(sum)::numeric(28,4) AS sum,
                min(min) AS min, max(max) AS max
         FROM day_totals
         WHERE status <> 'failed' AND day >= $1 AND day <= $2 AND ($3::text IS NULL OR currency = $3)
         GROUP BY currency, kind ORDER BY currency, kind",
    )
    .bind::<Date, _>(query.from.unwrap_or(FIRST_DAY))
    .bind::<Date, _>(query.to.unwrap_or(LAST_DAY))
    .bind::<Nullable<Text>, _>(&query.currency);
    kept.breakdowns.answer(changes, query.clone(), Fixed(statement).load(conn)).await
}

/// The days of the earliest and the latest transaction that did not fail; `None` if there is none.
pub async fn days_covered(conn: &mut AsyncPgConnection) -> QueryResult<Option<(NaiveDate, NaiveDate)>> {
    let statement = diesel::sql_query(
        "SELECT min(day) AS first, max(day) AS last FROM day_totals WHERE status <> 'failed'",
    );
    Fixed(statement).get_result::<Covered>(conn).await.map(Covered::range)
}

/// The days of a client's first and last transaction that did not fail; `None` if there is none.
pub async fn client_days_covered(
    conn: &mut AsyncPgConnection,
    client_id: &str,
    zone: chrono_tz::Tz,
) -> QueryResult<Option<(NaiveDate, NaiveDate)>> {
    let statement = diesel::sql_query(
        "SELECT (min(first_at) AT TIME ZONE $2)::date AS first, (max(last_at) AT TIME ZONE $2)::date AS last
         FROM client_totals WHERE client_id = $1",
    );
    let bound = statement.bind::<Text, _>(client_id).bind::<Text, _>(zone.name());
    Fixed(bound).get_result::<Covered>(conn).await.map(Covered::range)
}

#[derive(QueryableByName)]
struct Covered {
    #[diesel(sql_type = Nullable<Date>)]
    first: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Date>)]
    last: Option<NaiveDate>,
}

impl Covered {
    fn range(self) -> Option<(NaiveDate, NaiveDate)> {
        self.first.zip(self.last)
    }
}
