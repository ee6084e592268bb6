//! Cutting the kept tables into parts that one transaction each can work through, with the rows that they
//! count: by months where the key has a day, as rows are stored by month, by clients' ids elsewhere, as
//! rows are indexed by those. A part has about the rows of two chunks, but at least a month; its partitions
//! are read once, whatever the number of parts.

use super::kept::{Along, KEPT, Kept, in_zone};
use crate::transactions::take_back::blocks_at_once;
use chrono::{Months, NaiveDate};
use chrono_tz::Tz;
use tokio_postgres::{Client, Error, types::ToSql};

/// A part of a kept table.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) kept: &'static Kept,
    span: Span,
}

/// From the first to before the second.
#[derive(Clone)]
enum Span {
    Days(NaiveDate, NaiveDate),
    /// To the end if there is no second.
    Clients(String, Option<String>),
}

/// All parts, in the order in which writers lock.
pub(super) async fn all(client: &Client, zone: Tz, chunk_records: u64) -> Result<Vec<Part>, Error> {
    let most = blocks_at_once(chunk_records);
    let clients = client_spans(client, most).await?;
    let mut parts = Vec::new();
    for kept in KEPT {
        let spans = match kept.along {
            Along::Days => day_spans(client, kept, zone, most).await?,
            Along::Clients => clients.clone(),
        };
        parts.extend(spans.into_iter().map(|span| Part { kept, span }));
    }
    Ok(parts)
}

/// Months, several together as long as that is little to read. What is loaded into others meanwhile had
/// neither rows nor totals before, and needs neither mending nor checking.
async fn day_spans(client: &Client, kept: &Kept, zone: Tz, most: i64) -> Result<Vec<Span>, Error> {
    let statement = in_zone(&include_str!("months.sql").replace(":table", kept.table), zone);
    let mut spans: Vec<(NaiveDate, NaiveDate, i64)> = Vec::new();
    for row in client.query(&statement, &[]).await? {
        let (month, blocks): (NaiveDate, i64) = (row.get(0), row.get(1));
        let next = month.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
        match spans.last_mut() {
            Some((_, until, size)) if *size + blocks <= most => (*until, *size) = (next, *size + blocks),
            _ => spans.push((month, next, blocks)),
        }
    }
    Ok(spans.into_iter().map(|(from, until, _)| Span::Days(from, until)).collect())
}

/// Ranges of ids with equally many clients each; the first and the last are open, for ids that no client has.
async fn client_spans(client: &Client, most: i64) -> Result<Vec<Span>, Error> {
    let starts = client
        .query(
            "SELECT min(client_id) FROM (
                 SELECT client_id, ntile((
                     SELECT 1 + coalesce(sum(pg_relation_size(inhrelid)), 0)
                              / (current_setting('block_size')::bigint * $1)
                     FROM pg_inherits WHERE inhparent = 'transactions'::regclass)::integer) OVER (ORDER BY client_id) AS part
                 FROM clients) AS c
             GROUP BY part ORDER BY part OFFSET 1",
            &[&most],
        )
        .await?;
    let mut from = String::new();
    let mut spans = Vec::new();
    for row in starts {
        let until: String = row.get(0);
        spans.push(Span::Clients(std::mem::replace(&mut from, until.clone()), Some(until)));
    }
    spans.push(Span::Clients(from, None));
    Ok(spans)
}

impl Part {
    /// What its totals should be, counted from the rows; as all its SQL with [`Part::params`], and `:zone`.
    pub(super) fn counted(&self) -> String {
        let within = match self.span {
            Span::Days(..) => {
                "t.occurred_at >= $1::date::timestamp AT TIME ZONE :zone
                 AND t.occurred_at < $2::date::timestamp AT TIME ZONE :zone"
            }
            Span::Clients(..) => &self.within("t"),
        };
        self.kept.totals("transactions AS t", within)
    }

    /// Its totals as they are.
    pub(super) fn kept(&self) -> String {
        format!("SELECT {} FROM {} AS d WHERE {}", self.kept.all(), self.kept.table, self.within("d"))
    }

    /// Which totals of the table are in it.
    pub(super) fn within(&self, table: &str) -> String {
        match self.span {
            Span::Days(..) => format!("{table}.day >= $1::date AND {table}.day < $2::date"),
            Span::Clients(..) => format!(
                "{table}.client_id >= $1::text AND ($2::text IS NULL OR {table}.client_id < $2::text)"
            ),
        }
    }

    pub(super) fn params(&self) -> [&(dyn ToSql + Sync); 2] {
        match &self.span {
            Span::Days(from, until) => [from, until],
            Span::Clients(from, until) => [from, until],
        }
    }

    /// Settings of the transaction that counts it. The planner cannot guess how many totals the rows make, and
    /// would compare each with each where it thinks of one. A range of clients would read all rows where it
    /// takes that for cheaper than the index: however much cheaper, there are as many ranges as there are rows for.
    pub(super) fn settings(&self) -> &'static str {
        match &self.span {
            Span::Clients(from, until) if !from.is_empty() || until.is_some() => {
                "SET LOCAL work_mem = '64MB'; SET LOCAL enable_nestloop = off; SET LOCAL enable_seqscan = off"
            }
            _ => "SET LOCAL work_mem = '64MB'; SET LOCAL enable_nestloop = off",
        }
    }

    /// What is worked through, for people.
    pub(super) fn words(&self) -> String {
        self.kept.table.replace('_', " ")
    }
}
