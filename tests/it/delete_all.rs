//! Deleting all transactions, for tests: asked for twice, done once, and exact.

use crate::undo::trades;
use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    auth::{Role, issue_confirmation},
    clock::{Clock, SystemClock},
    runs::Queue,
    transactions::deletion,
    uploads::{UploadOptions, undo},
};
use tests::{App, AppOptions, browser::Browser, eventually, files};

const PATH: &str = "/api/v1/transactions";

/// An installation that allows it.
async fn destructible() -> App {
    App::start_with(AppOptions { allow_destructive: true, ..AppOptions::default() }).await
}

/// The token that the first call gives.
async fn token(app: &App) -> String {
    let (status, problem) = app.send(app.request(Method::DELETE, PATH)).await;
    assert_eq!(status, StatusCode::PRECONDITION_REQUIRED, "{problem}");
    problem["confirm"].as_str().unwrap().to_owned()
}

/// Asks for it, and confirms: the run.
async fn begin(app: &App) -> String {
    let confirmed = format!("{PATH}?confirm={}", token(app).await);
    let answer = app.request(Method::DELETE, &confirmed).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let run: Value = answer.json().await.unwrap();
    assert_eq!(
        (&run["kind"], &run["links"]["self"]),
        (&"delete_transactions".into(), &location.clone().into())
    );
    location
}

/// Waits for the end of a run: its view.
async fn end(app: &App, run: &str) -> Value {
    eventually("the end of a run", || async {
        let run = app.get(run).await;
        run["finished_at"].is_string().then_some(run)
    })
    .await
}

async fn delete_all(app: &App) -> Value {
    let run = begin(app).await;
    let run = end(app, &run).await;
    assert_eq!(run["state"], "completed", "{run}");
    run["result"].clone()
}

async fn count(app: &App, of: &str) -> i64 {
    app.db.one(&format!("SELECT count(*) FROM {of}"), &[]).await
}

/// Both verifications find nothing wrong.
async fn expect_verified(app: &App) {
    for path in ["/api/v1/summaries/verify", "/api/v1/ledger/verify"] {
        let (status, run) = app.post(path).await;
        assert!(status.is_success(), "{run}");
        let run = end(app, run["links"]["self"].as_str().unwrap()).await;
        assert_eq!(run["state"], "completed", "{path}: {run}");
    }
    files::expect_everything_exact(&app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_deletes_where_the_installation_does_not_allow_it() {
    let app = App::start().await;
    app.load("file.csv", files::transactions(10, 1), "").await;
    for query in ["", "?confirm=x"] {
        let (status, problem) = app.send(app.request(Method::DELETE, &format!("{PATH}{query}"))).await;
        assert_eq!(
            (status, &problem["type"]),
            (StatusCode::FORBIDDEN, &"urn:millrace:problem:destructive-not-allowed".into())
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("MILLRACE_ALLOW_DESTRUCTIVE=true"), "{detail}");
    }
    assert_eq!(count(&app, "transactions").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_delete_and_only_with_a_fresh_token_of_their_own() {
    let app = destructible().await;
    app.load("file.csv", files::transactions(10, 1), "").await;
    assert_eq!(app.send(app.anonymous(Method::DELETE, PATH)).await.0, StatusCode::UNAUTHORIZED);
    for role in [Role::Viewer, Role::Operator, Role::Integration] {
        let request = app.anonymous(Method::DELETE, PATH).bearer_auth(app.token(role).await);
        assert_eq!(app.send(request).await.0, StatusCode::FORBIDDEN, "{role}");
    }
    let token = token(&app).await;
    let other = app.token(Role::Admin).await;
    let key = &app.env.settings.signing_key;
    let admin = shared::auth::read_token(key, app.admin_token(), SystemClock.now()).unwrap().to_string();
    let issued = |action: &str, minutes_ago: i64| {
        issue_confirmation(key, action, &admin, SystemClock.now() - TimeDelta::minutes(minutes_ago)).unwrap()
    };
    let admin_token = app.admin_token().to_owned();
    for (what, confirm, bearer) in [
        ("another's", token.clone(), &other),
        ("an old one", issued("transactions.delete", 6), &admin_token),
        ("of another action", issued("something.else", 0), &admin_token),
        ("damaged", format!("{token}x"), &admin_token),
        ("of the login", admin_token.clone(), &admin_token),
    ] {
        let path = format!("{PATH}?confirm={confirm}");
        let (status, problem) = app.send(app.anonymous(Method::DELETE, &path).bearer_auth(bearer)).await;
        assert_eq!(
            (status, &problem["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &"confirm".into()),
            "{what}: {problem}"
        );
    }
    let opened = app.send(app.anonymous(Method::GET, PATH).bearer_auth(&token)).await;
    assert_eq!(opened.0, StatusCode::UNAUTHORIZED, "it opens nothing");
    assert_eq!(count(&app, "transactions").await, 10);
    assert_eq!(count(&app, "runs WHERE kind = 'delete_transactions'").await, 0);
    let (status, _) = app.send(app.request(Method::DELETE, &format!("{PATH}?confirm={token}"))).await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

/// Uploads of all sorts, undone ones, pending rows and what settled them, trades and a reversal, and a buy
/// that came alone.
async fn fill(app: &App) {
    app.load(
        "clients.csv",
        "client_id,account_currency,account_balance\nC1,EUR,100\nC2,GBP,-5.5\n",
        "?kind=clients",
    )
    .await;
    app.load("pending.csv", trades(600, &["pending", "success", "failed"]), "").await;
    let moved = app.load("moved.csv", trades(300, &["failed", "success", "failed"]), "").await;
    assert!(moved["counts"]["updated"].as_i64() > Some(50), "{moved}");
    app.load("wide.csv", files::wide_transactions(3_000, 1), "").await;
    let unwanted = app.load("unwanted.csv", files::wide_transactions(1_000, 2), "").await;
    app.undo(&unwanted).await;
    app.load_without_second_chunk("failed.csv", files::wide_transactions(2_000, 3)).await;
    app.account("ann", "1000").await;
    app.stock("AAA", "12.5", 100).await;
    app.trade("ann", "buy", 10, "AAA").await;
    let bought = app.trade("ann", "buy", 4, "AAA").await;
    app.trade("ann", "buy", 1_000, "AAA").await;
    let reverse = format!("/api/v1/trades/{}/reverse", bought["id"].as_str().unwrap());
    let (status, reversal) = app.post(&reverse).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{reversal}");
    app.until_decided().await;
    let live = json!({ "transaction_id": "live-1", "client_id": "ann", "occurred_at": "2026-11-20T10:00:00Z",
                       "amount": "7", "kind": "buy", "merchant_id": "M1" });
    let (status, added) = app.send(app.posting(PATH, &live)).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_but_settled_trades_and_all_that_is_kept_is_that_of_the_rest() {
    let app = destructible().await;
    fill(&app).await;
    let before = count(&app, "transactions").await;
    let entries = count(&app, "entries").await;
    let by_name = "/api/v1/clients/by-username/ann";
    assert_eq!(app.get(by_name).await["balance"], "868.0000", "kept in the cache");
    let (status, problem) = app.send(app.request(Method::DELETE, PATH)).await;
    assert_eq!(status, StatusCode::PRECONDITION_REQUIRED);
    assert_eq!(problem["type"], "urn:millrace:problem:confirmation-needed");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("deletes {} transactions", before - 3)), "{detail}");
    assert!(detail.contains("the 3 of settled trades"), "{detail}");
    assert_eq!(count(&app, "transactions").await, before, "nothing yet");

    let (mut listener, after) = app.listen("").await;
    let result = delete_all(&app).await;
    // The failed upload's first chunk and the three finished ones; the one that was undone was so before.
    assert_eq!((&result["transactions"], &result["kept"]), (&(before - 3).into(), &3.into()), "{result}");
    assert_eq!(result["uploads"], 4, "{result}");
    assert_eq!(count(&app, "transactions WHERE source <> 'trade'").await, 0);
    assert_eq!((count(&app, "transactions").await, count(&app, "transaction_keys").await), (3, 3));
    for table in ["upload_moves", "upload_overlaps", "upload_postings", "upload_trial_keys", "feed_outbox"] {
        assert_eq!(count(&app, table).await, 0, "{table}");
    }
    assert_eq!(app.get(by_name).await["balance"], "875.0000", "what the trades moved");
    assert_eq!(
        app.db
            .one::<String>("SELECT trim_scale(position)::text FROM clients WHERE client_id = 'C2'", &[])
            .await,
        "-5.5"
    );
    assert!(count(&app, "entries").await > entries, "the ledger only grows");
    app.db
        .expect_nothing(
            "SELECT id FROM journals j WHERE kind <> 'trade' AND reversal_of IS NULL
                 AND NOT EXISTS (SELECT FROM journals r WHERE r.reversal_of = j.id)",
        )
        .await;
    expect_verified(&app).await;
    // Who listens is told, and so is who comes back.
    assert_eq!(listener.next().await, json!({ "type": "reset", "reason": "epoch" }));
    let (mut resumed, _) = app.listen(&format!("?since={after}")).await;
    assert_eq!(resumed.next().await, json!({ "type": "reset", "reason": "epoch" }));
    let statement = app.get("/api/v1/clients/ann/statement").await;
    let kinds: Vec<&str> =
        statement["items"].as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["live_reversal", "live", "trade", "trade", "trade"], "{statement}");
    let page = Browser::log_in(&app, Role::Viewer).await.page("/ui/clients/ann/statement").await;
    assert!(page.contains("Live buys and sells were deleted"), "{page}");
    eventually("the refresh", || async {
        let counted = "SELECT coalesce(sum(total_transactions), 0)::bigint FROM client_transaction_summary";
        (app.db.one::<i64>(counted, &[]).await == 3).then_some(())
    })
    .await;
    let audited: Value = app
        .db
        .one(
            "SELECT details FROM audit_log WHERE action = 'transactions.delete' AND actor LIKE 'admin-%'",
            &[],
        )
        .await;
    let route = "DELETE /api/v1/transactions";
    assert_eq!(audited, json!({ "created": true, "route": route, "transactions": before - 3 }));
    assert_eq!(delete_all(&app).await, json!({ "transactions": 0, "kept": 3, "uploads": 0, "journals": 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_files_load_again_and_no_deleted_upload_goes_on() {
    let app = destructible().await;
    fill(&app).await;
    let digest = "SELECT count(*)::text || ' ' || sum(hashtextextended(
                      (to_jsonb(t) - 'source_id' - 'source_line')::text, 1)::numeric)::text
                  FROM transactions t WHERE source = 'upload' AND transaction_id NOT IN
                      (SELECT t.transaction_id FROM transactions t JOIN uploads u ON u.id = t.source_id
                       WHERE u.filename = 'failed.csv')";
    let positions =
        "SELECT string_agg(client_id || trim_scale(position), ' ' ORDER BY client_id) FROM clients
                     WHERE client_id LIKE 'C%'";
    let (rows, moved): (String, String) = (app.db.one(digest, &[]).await, app.db.one(positions, &[]).await);
    let failed = app.get("/api/v1/uploads?state=failed").await["items"][0].clone();
    delete_all(&app).await;
    assert_eq!(app.get("/api/v1/uploads?state=failed").await["items"], json!([]));
    let (status, problem) =
        app.post(&format!("/api/v1/runs/{}/retry", failed["run_id"].as_str().unwrap())).await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::CONFLICT, &"urn:millrace:problem:upload-undone".into())
    );
    let undone = app.get(&format!("/api/v1/uploads/{}", failed["id"].as_str().unwrap())).await;
    assert_eq!(
        (&undone["state"], &undone["undo_report"]["transactions"], &undone["undone_with"]),
        (&"undone".into(), &failed["counts"]["inserted"], &json!([])),
        "{undone}"
    );
    for (name, content) in [
        ("pending.csv", trades(600, &["pending", "success", "failed"]).into_bytes()),
        ("moved.csv", trades(300, &["failed", "success", "failed"]).into_bytes()),
        ("wide.csv", files::wide_transactions(3_000, 1)),
    ] {
        let (status, upload) = app.upload(name, content, "").await;
        assert_eq!((status, &upload["already_uploaded"]), (StatusCode::ACCEPTED, &false.into()), "{upload}");
        assert_eq!(app.ended(upload["id"].as_str().unwrap()).await["state"], "finished");
    }
    assert_eq!(
        (app.db.one::<String>(digest, &[]).await, app.db.one::<String>(positions, &[]).await),
        (rows, moved)
    );
    expect_verified(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_while_an_upload_or_an_undo_is_on_its_way() {
    let app = destructible().await;
    let first = app.load("first.csv", files::transactions(100, 1), "").await;
    // Asked for while nothing was on its way; when its run comes, something is.
    app.db.pause("delete_transactions").await;
    let run = begin(&app).await;
    app.db.pause("finish_upload").await;
    let confirmed = format!("{PATH}?confirm={}", token(&app).await);
    let (_, upload) = app.upload("slow.csv", files::transactions(100, 2), "").await;
    for path in [PATH, &confirmed] {
        let (status, problem) = app.send(app.request(Method::DELETE, path)).await;
        assert_eq!(
            (status, &problem["type"]),
            (StatusCode::CONFLICT, &"urn:millrace:problem:uploads-in-progress".into())
        );
        assert!(problem["detail"].as_str().unwrap().contains("slow.csv"), "{problem}");
    }
    app.db.client.execute("DELETE FROM pauses WHERE name = 'delete_transactions'", &[]).await.unwrap();
    let refused = end(&app, &run).await;
    assert_eq!(
        (&refused["state"], &refused["attempt"]),
        (&"failed".into(), &1.into()),
        "for good: {refused}"
    );
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains("Nothing was deleted.") && error.contains("slow.csv"), "{error}");
    app.db.resume().await;
    app.ended(upload["id"].as_str().unwrap()).await;
    assert_eq!(count(&app, "transactions").await, 200);
    // An undo is no better.
    app.db.pause("undo_upload").await;
    let id = first["id"].as_str().unwrap().parse().unwrap();
    undo::request_undo(&mut app.env.pool.get().await.unwrap(), id, false, "test").await.unwrap();
    let (status, problem) = app.send(app.request(Method::DELETE, PATH)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("first.csv"), "{problem}");
    // One that stands still is done by the deletion.
    let undo: uuid::Uuid = app.db.one("SELECT id FROM runs WHERE kind = 'undo_upload'", &[]).await;
    assert!(app.post(&format!("/api/v1/runs/{undo}/cancel")).await.0.is_success());
    app.db.resume().await;
    delete_all(&app).await;
    assert_eq!(count(&app, "uploads WHERE state = 'undone'").await, 2);
    let (status, run) = app.post(&format!("/api/v1/runs/{undo}/retry")).await;
    assert!(status.is_success(), "{run}");
    assert_eq!(
        end(&app, &format!("/api/v1/runs/{undo}")).await["state"],
        "completed",
        "there is nothing left of it"
    );
    expect_verified(&app).await;
}

/// Has the deletion wait at its end, when everything is done and nothing committed, until the lock is let go.
async fn hold_its_end(app: &App) {
    let trigger = "CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                       PERFORM pg_advisory_xact_lock(1); RETURN NEW;
                   END $$;
                   CREATE TRIGGER wait_here BEFORE UPDATE ON transaction_deletions FOR EACH ROW EXECUTE FUNCTION wait_here();
                   SELECT pg_advisory_lock(1)";
    app.db.client.batch_execute(trigger).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_meanwhile_waits_for_it_and_is_kept() {
    let app = destructible().await;
    fill(&app).await;
    hold_its_end(&app).await;
    let run = begin(&app).await;
    app.db.waiting_for_locks(1).await;
    // Readers go on; a load, an order and a rebuild wait.
    let shown = app.get("/api/v1/transactions?limit=1").await;
    assert_eq!(shown["items"].as_array().unwrap().len(), 1, "as it was");
    let upload = app.accept("later.csv", &files::wide_transactions(500, 9), UploadOptions::default()).await;
    let (status, order) = app.send(app.order("ann", "buy", 1, "AAA")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{order}");
    let (_, rebuild) = app.post("/api/v1/summaries/rebuild").await;
    app.db.waiting_for_locks(4).await;
    app.db.client.batch_execute("SELECT pg_advisory_unlock(1)").await.unwrap();
    assert_eq!(end(&app, &run).await["state"], "completed");
    let upload = app.ended(&upload.to_string()).await;
    assert_eq!(
        (&upload["state"], &upload["counts"]["inserted"]),
        (&"finished".into(), &500.into()),
        "{upload}"
    );
    app.until_decided().await;
    assert_eq!(end(&app, rebuild["links"]["self"].as_str().unwrap()).await["state"], "completed");
    assert_eq!(count(&app, "transactions").await, 504);
    expect_verified(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_stopped_in_its_middle_has_deleted_nothing_and_can_be_retried() {
    let app = destructible().await;
    fill(&app).await;
    let before = count(&app, "transactions").await;
    hold_its_end(&app).await;
    let run = begin(&app).await;
    app.db.waiting_for_locks(1).await;
    assert!(app.post(&format!("{run}/cancel")).await.0.is_success());
    assert_eq!(end(&app, &run).await["state"], "cancelled");
    assert_eq!(count(&app, "transactions").await, before);
    files::expect_everything_exact(&app.db).await;
    app.db.client.batch_execute("SELECT pg_advisory_unlock(1)").await.unwrap();
    let (status, answer) = app.post(&format!("{run}/retry")).await;
    assert!(status.is_success(), "{answer}");
    assert_eq!(end(&app, &run).await["state"], "completed");
    assert_eq!(count(&app, "transactions").await, 3);
    expect_verified(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_asked_for_deletes_nothing() {
    let app = destructible().await;
    app.load("file.csv", files::transactions(10, 1), "").await;
    let run = begin(&app).await;
    end(&app, &run).await;
    let (status, problem) =
        app.send(app.request(Method::POST, &format!("{run}/clone")).json(&json!({}))).await;
    assert_eq!((status, &problem["type"]), (StatusCode::CONFLICT, &"urn:millrace:problem:unclonable".into()));
    let schedule = json!({ "name": "sweep", "cron": "0 3 * * *", "kind": "delete_transactions",
                           "args": { "deletion_id": uuid::Uuid::nil() } });
    let (status, problem) = app.send(app.posting("/api/v1/schedules", &schedule)).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &"kind".into()), "{problem}");

    let again = app.load("file.csv", files::transactions(10, 1), "").await;
    assert_eq!(again["counts"]["inserted"], 10, "{again}");
    let done: uuid::Uuid = app.db.one("SELECT id FROM transaction_deletions", &[]).await;
    let old: uuid::Uuid = app
        .db
        .one(
            "INSERT INTO transaction_deletions (id, run_id, asked_by, asked_at)
             VALUES (gen_random_uuid(), gen_random_uuid(), 'test', now() - interval '61 minutes') RETURNING id",
            &[],
        )
        .await;
    for (deletion, state, said) in [
        (done, "completed", "null"),
        (old, "failed", "more than an hour ago"),
        (uuid::Uuid::nil(), "failed", "Nobody has asked"),
    ] {
        let id = uuid::Uuid::now_v7();
        app.db
            .client
            .execute(
                "INSERT INTO runs (id, kind, queue, args, state, priority, max_attempts, flow_id, created_by)
                 VALUES ($1, 'delete_transactions', 'control', jsonb_build_object('deletion_id', $2::uuid), 'available',
                         100, 5, $1, 'test')",
                &[&id, &deletion],
            )
            .await
            .unwrap();
        app.env.doorbells.ring(Queue::Control, 1);
        let run = end(&app, &format!("/api/v1/runs/{id}")).await;
        assert_eq!((&run["state"], &run["attempt"]), (&state.into(), &1.into()), "{run}");
        assert!(run["error"].to_string().contains(said), "{run}");
    }
    assert_eq!(count(&app, "transactions").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_ask_at_once_are_given_one_run() {
    let app = destructible().await;
    app.db.pause("delete_transactions").await;
    let first = begin(&app).await;
    let confirmed = format!("{PATH}?confirm={}", token(&app).await);
    let (status, second) = app.send(app.request(Method::DELETE, &confirmed)).await;
    assert_eq!((status, &second["links"]["self"]), (StatusCode::OK, &first.clone().into()), "{second}");
    assert_eq!(count(&app, "audit_log WHERE action = 'transactions.delete'").await, 2);
    assert_eq!(count(&app, "transaction_deletions").await, 1);
    app.db.resume().await;
    assert_eq!(end(&app, &first).await["state"], "completed");
    let mut conn = app.env.pool.get().await.unwrap();
    assert_eq!(deletion::extent(&mut conn).await.unwrap(), deletion::Extent { leaving: 0, staying: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_deletes_nothing_that_came_after_it_was_used() {
    let app = destructible().await;
    let confirmed = format!("{PATH}?confirm={}", token(&app).await);
    let (status, run) = app.send(app.request(Method::DELETE, &confirmed)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    end(&app, run["links"]["self"].as_str().unwrap()).await;
    let body =
        json!({ "transaction_id": "after", "client_id": "c", "occurred_at": "2026-11-20", "amount": "1" });
    let (status, answer) = app.send(app.request(Method::POST, PATH).json(&body)).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let (status, problem) = app.send(app.request(Method::DELETE, &confirmed)).await;
    assert_eq!(
        (status, &problem["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &"confirm".into()),
        "{problem}"
    );
    assert_eq!(count(&app, "transactions").await, 1);
}
