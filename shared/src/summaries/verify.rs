//! Proving that the kept totals are what the rows add up to, while loads go on: each part of a table is
//! compared by one statement, which sees one moment of the record. Then, that every transaction has its
//! client (the clients of the totals are those of the rows) and its key: the registry and the rows are
//! counted and their hashes added up at one moment, and only if those differ are they compared one by one.
//!
//! The materialized view is left alone: it is of another moment by design.

use super::parts::{self, Part};
use crate::{
    runs::{Finished, JobError, RunContext},
    transactions::prerequisites::SESSION,
};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};
use tokio_postgres::{Client, Error};

/// Faults that are named.
const NAMED: usize = 20;
/// Clients whom totals, and so rows, name and nobody knows.
const UNKNOWN_CLIENTS: &str = "
    SELECT client_id FROM (SELECT client_id FROM client_totals UNION SELECT client_id FROM client_failures) AS t
    WHERE NOT EXISTS (SELECT FROM clients c WHERE c.client_id = t.client_id) ORDER BY client_id";
/// Rows and keys: how many, and the sums of their hashes.
const ROWS_AND_KEYS: &str = "
    SELECT t.count, t.sum::text, k.count, k.sum::text
    FROM (SELECT count(*), sum(hash_record_extended((transaction_id, client_id, occurred_at, status = 'pending'), 0))
          FROM transactions) AS t,
         (SELECT count(*), sum(hash_record_extended((transaction_id, client_id, occurred_at, pending), 0))
          FROM transaction_keys) AS k";
/// Rows without the key that they should have, and the other way round.
const UNPAIRED: &str = "
    SELECT transaction_id FROM transactions t FULL JOIN transaction_keys k USING (transaction_id)
    WHERE (t.client_id, t.occurred_at, t.status = 'pending') IS DISTINCT FROM (k.client_id, k.occurred_at, k.pending)
    ORDER BY transaction_id LIMIT $1";

/// What was found.
#[derive(Default)]
struct Findings {
    /// Totals by table.
    compared: Map<String, Value>,
    totals: i64,
    differences: i64,
    /// The first of them.
    named: Vec<Value>,
    /// What is wrong, in sentences.
    complaints: Vec<String>,
}

/// The handler of `VerifySummaries`: fails, for good, if anything differs, and leaves what does as its result.
pub(super) async fn verify(context: RunContext) -> Result<Finished, JobError> {
    let env = &context.env;
    let mut client = env.load_connections.take(SESSION).await.map_err(JobError::retry)?;
    let parts = parts::all(&client, env.settings.zone, env.chunk_records).await.map_err(JobError::retry)?;
    let total = parts.len() as i64 + 1;
    let mut findings = Findings::default();
    for (part, done) in parts.iter().zip(0..) {
        context.progress(done, Some(total), "parts", &part.words()).await;
        if context.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
        findings.compare(&mut client, part, env.settings.zone).await.map_err(JobError::retry)?;
    }
    findings.complain_of_totals();
    context.progress(total - 1, Some(total), "parts", "transactions, keys and clients").await;
    findings.look_for_clients(&client).await.map_err(JobError::retry)?;
    let transactions = findings.look_for_keys(&client).await.map_err(JobError::retry)?;
    env.load_connections.put_back(client);
    let result = json!({
        "compared": findings.compared, "transactions": transactions,
        "differences": findings.differences, "first": findings.named,
    });
    if findings.complaints.is_empty() {
        tracing::info!(totals = findings.totals, transactions, "every total is what its rows add up to");
        return Ok(Finished::Result(result));
    }
    context.leave_result(&result).await?;
    Err(JobError::fail(anyhow::anyhow!(findings.complaints.join("\n"))))
}

impl Findings {
    async fn compare(&mut self, client: &mut Client, part: &Part, zone: Tz) -> Result<(), Error> {
        let room = NAMED - self.named.len();
        let statement = part.kept.compare(&part.kept(), &part.counted(), room);
        let transaction = client.build_transaction().read_only(true).start().await?;
        transaction.batch_execute(part.settings()).await?;
        let row = transaction.query_one(&super::kept::in_zone(&statement, zone), &part.params()).await?;
        transaction.commit().await?;
        let (compared, differences, first): (i64, i64, Option<Value>) = (row.get(0), row.get(1), row.get(2));
        let before = self.compared.get(part.kept.table).and_then(Value::as_i64).unwrap_or_default();
        self.compared.insert(part.kept.table.to_owned(), (before + compared).into());
        self.totals += compared;
        self.differences += differences;
        if let Some(Value::Array(first)) = first {
            self.named.extend(first);
        }
        Ok(())
    }

    fn complain_of_totals(&mut self) {
        if self.differences == 0 {
            return;
        }
        let named: Vec<String> = self.named.iter().map(described).collect();
        let more = if self.differences > named.len() as i64 { "\n…" } else { "" };
        self.complaints.push(format!(
            "{} of {} totals are not what their rows add up to; `millrace rebuild-summaries` mends them.\n{}{more}",
            self.differences,
            self.totals,
            named.join("\n")
        ));
    }

    async fn look_for_clients(&mut self, client: &Client) -> Result<(), Error> {
        let unknown = client.query(UNKNOWN_CLIENTS, &[]).await?;
        if !unknown.is_empty() {
            let first: Vec<String> =
                unknown.iter().take(NAMED).map(|row| format!("`{}`", row.get::<_, &str>(0))).collect();
            let (count, first) = (unknown.len(), first.join(", "));
            self.complaints
                .push(format!("{count} clients of transactions are not known, the first: {first}."));
        }
        Ok(())
    }

    /// How many transactions there are.
    async fn look_for_keys(&mut self, client: &Client) -> Result<i64, Error> {
        let row = client.query_one(ROWS_AND_KEYS, &[]).await?;
        let (rows, keys): (i64, i64) = (row.get(0), row.get(2));
        if (rows, row.get::<_, Option<&str>>(1)) != (keys, row.get::<_, Option<&str>>(3)) {
            let unpaired = client.query(UNPAIRED, &[&(NAMED as i64)]).await?;
            let first: Vec<String> =
                unpaired.iter().map(|row| format!("`{}`", row.get::<_, &str>(0))).collect();
            let which = match first.as_slice() {
                [] => "some key has several rows".to_owned(),
                first => format!("the first that do not agree: {}", first.join(", ")),
            };
            self.complaints.push(format!("{rows} transactions have {keys} keys; {which}."));
        }
        Ok(rows)
    }
}

/// Table and key, then what differs; in backquotes what another failure of the same sort would not have.
fn described(difference: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let key = difference["key"].as_object().into_iter().flatten().map(|(_, value)| text(value));
    let name: Vec<String> = std::iter::once(text(&difference["table"])).chain(key).collect();
    let (kept, right) = (&difference["kept"], &difference["right"]);
    let what = match (kept.as_object(), right.as_object()) {
        (Some(_), None) => "has no rows".to_owned(),
        (None, Some(right)) => format!("is missing; it has `{}` rows", right["count"]),
        (kept, right) => kept
            .into_iter()
            .flatten()
            .zip(right.into_iter().flatten())
            .filter(|((_, kept), (_, right))| kept != right)
            .map(|((name, kept), (_, right))| format!("{name} `{}` instead of `{}`", text(kept), text(right)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    format!("`{}`: {what}", name.join(" "))
}
