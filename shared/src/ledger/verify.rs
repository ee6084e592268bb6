//! Proving the ledger, in one snapshot while settlements go on. Entries first: each journal sums to zero for each
//! asset, and the entries of a trade's journal are what the trade says that it moved. Then what is kept beside
//! them: positions, holdings and volumes are their sums, and every settled trade has its transaction.

use crate::runs::{Finished, JobError, RunContext};
use serde_json::{Value, json};
use tokio_postgres::{Client, Error, IsolationLevel};

/// Faults that are named of each check.
const NAMED: usize = 20;

/// One thing that must hold. Its statement returns what does not: a subject, what it should be, what it is; the
/// earliest first, at most `$1`.
struct Check {
    name: &'static str,
    /// What is compared, for the progress.
    words: &'static str,
    /// What is wrong with what the statement returns.
    wrong: &'static str,
    statement: &'static str,
}

const CHECKS: &[Check] = &[
    Check {
        name: "journals",
        words: "journals, each for each asset",
        wrong: "do not sum to zero",
        statement: include_str!("verify/journals.sql"),
    },
    Check {
        name: "entries",
        words: "entries, with the trades that posted them",
        wrong: "are not what their trade moved",
        statement: include_str!("verify/entries.sql"),
    },
    Check {
        name: "positions",
        words: "positions, with the entries of cash",
        wrong: "are not their opening balance and their entries",
        statement: include_str!("verify/positions.sql"),
    },
    Check {
        name: "holdings",
        words: "holdings, with trades and entries of shares",
        wrong: "are not what their trades add up to",
        statement: include_str!("verify/holdings.sql"),
    },
    Check {
        name: "stocks",
        words: "volumes of stocks, with trades",
        wrong: "are not what was listed less what is held",
        statement: include_str!("verify/stocks.sql"),
    },
    Check {
        name: "transactions",
        words: "settled trades, with their transactions",
        wrong: "have no transaction",
        statement: include_str!("verify/transactions.sql"),
    },
];

/// The handler of `VerifyLedger`: fails, for good, if anything is wrong, and leaves what is as its result.
pub(super) async fn verify(context: RunContext) -> Result<Finished, JobError> {
    let mut client = context
        .env
        .load_connections
        .take(crate::transactions::prerequisites::SESSION)
        .await
        .map_err(JobError::retry)?;
    let (result, complaints) = look(&context, &mut client).await?;
    context.env.load_connections.put_back(client);
    if complaints.is_empty() {
        tracing::info!("the ledger adds up");
        return Ok(Finished::Result(result));
    }
    context.leave_result(&result).await?;
    Err(JobError::fail(anyhow::anyhow!(complaints.join("\n"))))
}

async fn look(context: &RunContext, client: &mut Client) -> Result<(Value, Vec<String>), JobError> {
    let (mut wrong, mut complaints) = (serde_json::Map::new(), Vec::new());
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(JobError::retry)?;
    for (check, done) in CHECKS.iter().zip(0..) {
        context.progress(done, Some(CHECKS.len() as i64), "checks", check.words).await;
        let statement = transaction.query(check.statement, &[&(NAMED as i64 + 1)]);
        let found = tokio::select! {
            biased;
            () = context.cancel.cancelled() => return Err(JobError::Cancelled),
            found = statement => found.map_err(JobError::retry)?,
        };
        let faults: Vec<Value> = found
            .iter()
            .map(|row| {
                let text = |at: usize| row.get::<_, Option<String>>(at);
                json!({ "what": text(0), "should_be": text(1), "is": text(2) })
            })
            .collect();
        if !faults.is_empty() {
            complaints.push(complaint(check, &faults));
        }
        wrong.insert(check.name.to_owned(), faults.into());
    }
    let counts = counts(&transaction).await.map_err(JobError::retry)?;
    transaction.commit().await.map_err(JobError::retry)?;
    Ok((json!({ "compared": counts, "wrong": wrong }), complaints))
}

fn complaint(check: &Check, faults: &[Value]) -> String {
    let text = |fault: &Value, name: &str| fault[name].as_str().unwrap_or("nothing").to_owned();
    let named: Vec<String> = faults
        .iter()
        .take(NAMED)
        .map(|fault| {
            let (what, should_be, is) = (text(fault, "what"), text(fault, "should_be"), text(fault, "is"));
            format!("{what}: should be {should_be}, is {is}")
        })
        .collect();
    let more = if faults.len() > NAMED { "\n…" } else { "" };
    format!("Some {} {}. The first: {}{more}", check.name, check.wrong, named.join("\n"))
}

/// How much was looked at.
async fn counts(transaction: &tokio_postgres::Transaction<'_>) -> Result<Value, Error> {
    let row = transaction
        .query_one(
            "SELECT (SELECT count(*) FROM journals), (SELECT count(*) FROM entries), (SELECT count(*) FROM clients),
                    (SELECT count(*) FROM holdings), (SELECT count(*) FROM stocks),
                    (SELECT count(*) FROM trades WHERE state IN ('settled', 'reversed'))",
            &[],
        )
        .await?;
    let count = |at: usize| row.get::<_, i64>(at);
    Ok(json!({
        "journals": count(0), "entries": count(1), "clients": count(2), "holdings": count(3), "stocks": count(4),
        "trades": count(5),
    }))
}
