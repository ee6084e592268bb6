//! How PostgreSQL carries statements out on tables whose statistics are old or missing, as they are just after
//! a large load: by what each step touches, not by time.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::analytics::queries::{RISK, RISK_ALONE, STATISTICS, TREND, TREND_ALONE};
use tests::{App, AppOptions, files};
use tokio_postgres::types::ToSql;

const ROWS: i64 = 50_000;

/// Most rows that a step of the plan took up or threw away, all its repetitions together.
fn most(plan: &Value) -> f64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    let each = number("Actual Rows")
        + number("Rows Removed by Filter")
        + number("Rows Removed by Join Filter")
        + number("Rows Removed by Index Recheck");
    let below = plan["Plans"].as_array().into_iter().flatten().map(most);
    below.fold(each * number("Actual Loops"), f64::max)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_all_there_already_are_looked_up_and_never_compared_with_each_other() {
    for analysed_while_small in [true, false] {
        let options = AppOptions { chunk_records: ROWS.unsigned_abs(), ..AppOptions::default() };
        let app = App::start_with(options).await;
        app.load("small.csv", files::rows(&["a,1,1,2025-01-01,1", "b,2,1,2025-01-02,1"]), "").await;
        if analysed_while_small {
            app.db.client.batch_execute("ANALYZE").await.unwrap();
        }
        let keep = "ALTER TABLE transaction_keys SET (autovacuum_enabled = false)";
        app.db.client.batch_execute(keep).await.unwrap();
        let mut file = files::transactions(ROWS.unsigned_abs(), 5);
        app.load("first.csv", file.clone(), "").await;
        let known: i64 = app
            .db
            .one("SELECT reltuples::bigint FROM pg_class WHERE oid = 'transaction_keys'::regclass", &[])
            .await;
        assert!(known < 100, "the statistics are of today: {known}");
        file.extend_from_slice(b"c,1,1,2025-01-03,1\n");
        let again = app.load("again.csv", file, "").await;
        assert_eq!((&again["counts"]["duplicates"], &again["counts"]["inserted"]), (&ROWS.into(), &1.into()));
        expect_short_plans(&app).await;
    }
}

/// The most rows that a step of a statement touches.
async fn touched(app: &App, statement: &str) -> f64 {
    let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, FORMAT JSON) {statement}");
    let plan: Value = app.db.one(&explain, &[]).await;
    most(&plan[0]["Plan"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_many_clients_stays_in_its_index() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    for analysed in [false, true] {
        if !analysed {
            let fill = format!(
                "ALTER TABLE clients SET (autovacuum_enabled = false);
                 INSERT INTO clients (client_id, name, email, phone_number, country, account_type, currency, stub)
                 SELECT 'C' || n, CASE WHEN n % 2 = 0 THEN 'Ann Example' || n END,
                        CASE WHEN n % 2 = 0 THEN 'u' || n || '@example.org' END, CASE WHEN n % 2 = 0 THEN 200000000 + n END,
                        'Country ' || n % 200, 'standard', 'USD', n % 2 = 1 FROM generate_series(1, {ROWS}) AS n"
            );
            app.db.client.batch_execute(&fill).await.unwrap();
        } else {
            app.db.client.batch_execute("ANALYZE clients").await.unwrap();
        }
        for search in ["smith", "example4999", "u4998@", "C4999", "200004998", "nobody at all"] {
            // What the list asks, as diesel writes it; see shared/src/clients/search.rs.
            let words: Vec<String> = search.split(' ').map(|word| format!("'{word}':*")).collect();
            let words = words.join(" & ").replace('\'', "''");
            let statement = format!(
                "SELECT * FROM clients WHERE clients.client_id = ANY (ARRAY(SELECT client_id FROM clients WHERE client_id LIKE '{search}%'
                     UNION SELECT client_id FROM clients
                     WHERE (name IS NOT NULL OR email IS NOT NULL OR phone_number IS NOT NULL)
                       AND client_search_terms(name, email, phone_number) @@ lower('{words}')::tsquery))
                 ORDER BY clients.client_id ASC LIMIT 51"
            );
            let touched = touched(&app, &statement).await;
            assert!(touched <= 100.0, "analysed {analysed}: {touched} rows are touched for {search}");
        }
    }
}

/// Explains what a load of all rows that are there would ask, as its connection would.
async fn expect_short_plans(app: &App) {
    let client = &app.db.client;
    // A plan that compares all with all ends as an error, not in some minutes.
    client.batch_execute("SET statement_timeout = '60s'").await.unwrap();
    client.batch_execute(include_str!("../../shared/src/transactions/session.sql")).await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    let ids: Vec<String> =
        app.db.one("SELECT array_agg(transaction_id ORDER BY 1) FROM transaction_keys", &[]).await;
    let statuses = vec!["success"; ids.len()];
    let bounds =
        client.query_one("SELECT min(occurred_at), max(occurred_at) FROM transaction_keys", &[]).await;
    let bounds = bounds.unwrap();
    let (first, last): (DateTime<Utc>, DateTime<Utc>) = (bounds.get(0), bounds.get(1));
    let nobody = uuid::Uuid::nil();
    let statements: [(&str, &[&(dyn ToSql + Sync)]); 4] = [
        (include_str!("../../shared/src/transactions/classify.sql"), &[&ids]),
        (include_str!("../../shared/src/transactions/owners.sql"), &[&ids, &nobody, &first, &last]),
        (include_str!("../../shared/src/transactions/move_statuses.sql"), &[&ids, &statuses, &first, &last]),
        (include_str!("../../shared/src/transactions/versions.sql"), &[&ids]),
    ];
    for (statement, values) in statements {
        let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, FORMAT JSON) {statement}");
        let plan: Value = client
            .query_one(&explain, values)
            .await
            .unwrap_or_else(|error| panic!("{error}: {statement}"))
            .get(0);
        let touched = most(&plan[0]["Plan"]);
        assert!(touched >= ROWS as f64, "it looked at nothing: {plan:#}");
        assert!(touched <= 4.0 * ROWS as f64, "{touched} rows are touched for {ROWS}: {plan:#}");
    }
    client.batch_execute("ROLLBACK").await.unwrap();
}

/// Made anew for each client, over all months, the plan takes longer than the rest of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_plans_of_questions_about_clients_are_kept() {
    let app = App::start().await;
    let rows: Vec<String> = (1..=20_000).map(|n| format!("t{n},{n},1,2025-{:02}-01,5", n % 12 + 1)).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    app.load("year.csv", files::rows(&rows), "").await;
    app.db.client.batch_execute("ANALYZE").await.unwrap();
    let client = &app.db.client;
    let statements = [STATISTICS, &RISK, &RISK_ALONE, &TREND, &TREND_ALONE].map(|sql| client.prepare(sql));
    let statements = futures::future::try_join_all(statements).await.unwrap();
    let [statistics, risk, risk_alone, trend, trend_alone] = &statements[..] else {
        panic!("five statements")
    };
    let [from, until] =
        ["2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"].map(|at| at.parse::<DateTime<Utc>>());
    let (from, until) = (vec![from.unwrap(); 20], vec![until.unwrap(); 20]);
    let [first, last] = [&from, &until].map(|at| at.iter().map(DateTime::date_naive).collect::<Vec<_>>());
    let (any, no, zone) = (vec![None::<&str>; 20], vec![false; 20], vec!["UTC"; 20]);
    // However many are asked together.
    for n in (1..=20).rev() {
        let ids: Vec<String> = (1..=n).map(|client| client.to_string()).collect();
        let (from, until, first, last) = (&from[..n], &until[..n], &first[..n], &last[..n]);
        let (any, no, zone) = (&any[..n], &no[..n], &zone[..n]);
        let amounts: [&(dyn ToSql + Sync); 7] = [&ids, &from, &until, &any, &any, &no, &2_000i64];
        let risks: [&(dyn ToSql + Sync); 7] = [&ids, &no, &zone, &first, &last, &any, &2_000i64];
        let trends: [&(dyn ToSql + Sync); 7] = [&ids, &zone, &first, &last, &any, &no, &2_000i64];
        for (statement, params) in [
            (statistics, amounts),
            (risk, risks),
            (risk_alone, risks),
            (trend, trends),
            (trend_alone, trends),
        ] {
            client.query(statement, &params).await.unwrap();
        }
    }
    let kept =
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%unnest%' AND generic_plans > 10";
    assert_eq!(app.db.one::<i64>(kept, &[]).await, 5, "a plan was made anew for each client");
}
