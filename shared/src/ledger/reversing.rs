//! Reversing everything but trades at once, when all transactions are deleted. The ledger keeps both sides.

use crate::ids::JournalId;
use diesel::{
    QueryResult, QueryableByName,
    sql_types::{Array, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

/// What was posted for rows, not for trades, and still stands.
const STANDING: &str = "SELECT id FROM journals j
    WHERE kind <> 'trade' AND reversal_of IS NULL AND NOT EXISTS (SELECT FROM journals r WHERE r.reversal_of = j.id)
    ORDER BY posted_at, id";

#[derive(QueryableByName)]
struct Standing {
    #[diesel(sql_type = Uuid)]
    id: JournalId,
}

/// Posts the reverse of every journal that is not a trade's, each once, and moves the positions back. Which reverses
/// which is, until the commit, in the table `reversals`. Nobody else may post for rows meanwhile; locks the clients
/// in order.
pub(crate) async fn reverse_all_but_trades(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    let standing: Vec<Standing> = diesel::sql_query(STANDING).load(conn).await?;
    let reversed: Vec<JournalId> = standing.iter().map(|journal| journal.id).collect();
    let journals: Vec<JournalId> = reversed.iter().map(|_| JournalId::generate()).collect();
    conn.batch_execute(
        "CREATE TEMP TABLE reversals (reversed uuid PRIMARY KEY, journal_id uuid) ON COMMIT DROP",
    )
    .await?;
    diesel::sql_query("INSERT INTO reversals SELECT * FROM unnest($1, $2)")
        .bind::<Array<Uuid>, _>(reversed)
        .bind::<Array<Uuid>, _>(journals)
        .execute(conn)
        .await?;
    conn.batch_execute(include_str!("reverse_all.sql")).await
}
