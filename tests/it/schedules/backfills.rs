//! Backfills, and the nightly schedule whose past one fills in.

use super::{app, look, make, send, text, ticks};
use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::json;
use shared::{
    clock::{Clock, SystemClock},
    schedules::{built_in, queries},
};
use tests::{App, AppOptions, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_runs_what_is_missing_or_failed_a_few_at_once_behind_live_work() {
    let app = App::start_with(AppOptions { kinds: tests::kinds::all(), ..AppOptions::default() }).await;
    make(&app, "daily", json!({ "kind": "stamp", "cron": "30 5 * * *" })).await;
    let id: uuid::Uuid = app.db.one("SELECT id FROM schedules WHERE name = 'daily'", &[]).await;
    // Of ten days one is done, one has failed, one was skipped.
    app.db
        .client
        .execute(
            "INSERT INTO schedule_ticks (schedule_id, nominal_at, outcome, cause, run_id, run_ended)
             VALUES ($1, '2026-03-02 05:30Z', 'fired', 'clock', gen_random_uuid(), 'completed'),
                    ($1, '2026-03-03 05:30Z', 'fired', 'clock', gen_random_uuid(), 'failed'),
                    ($1, '2026-03-04 05:30Z', 'skipped', 'clock', NULL, NULL)",
            &[&id],
        )
        .await
        .unwrap();
    let path = "/api/v1/schedules/daily/backfill";
    let seen = app.get(&format!("{path}?from=2026-03-01&until=2026-03-10")).await;
    assert_eq!((seen["chosen"].as_i64(), seen["times"].as_array().unwrap().len()), (Some(9), 10), "{seen}");
    assert_eq!(seen["times"][1]["standing"], "done");
    assert_eq!(seen["times"][2]["standing"], "failed");
    let body = json!({ "from": "2026-03-01", "until": "2026-03-10", "at_once": 2 });
    let (status, run) = send(&app, Method::POST, path, body.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    let ended = eventually("the end of the backfill", async || {
        let run = app.get(&format!("/api/v1/runs/{}", text(&run["id"]))).await;
        (!run["finished_at"].is_null()).then_some(run)
    })
    .await;
    assert_eq!(ended["state"], "completed", "{ended}");
    assert_eq!(ended["result"], json!({ "schedule": "daily", "times": 9 }));
    let made = "SELECT count(*) FROM runs WHERE created_by = 'backfill of daily' AND priority >= 10000";
    assert_eq!(app.db.one::<i64>(made, &[]).await, 9);
    // Oldest first, and never more than two at once.
    let crowd = "SELECT count(*) FROM runs a JOIN runs b ON b.created_by = a.created_by
                 AND b.created_at <= a.created_at AND b.finished_at > a.created_at
                 WHERE a.created_by = 'backfill of daily' GROUP BY a.id ORDER BY 1 DESC LIMIT 1";
    assert!(app.db.one::<i64>(crowd, &[]).await <= 2);
    app.db
        .expect_nothing(
            "SELECT * FROM schedule_ticks a JOIN runs r ON r.id = a.run_id JOIN schedule_ticks b ON true
             JOIN runs s ON s.id = b.run_id WHERE a.nominal_at < b.nominal_at AND r.id > s.id",
        )
        .await;
    // Nothing is left to do, unless all of it is wanted.
    let (status, refused) = send(&app, Method::POST, path, body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert!(text(&refused["detail"]).contains("Nothing is to be done"), "{refused}");
    let all = app.get(&format!("{path}?from=2026-03-01&until=2026-03-10&all=true")).await;
    assert_eq!(all["chosen"], 10);
    for (body, said) in [
        (json!({ "from": "2026-03-10", "until": "2026-03-01" }), "ends before it begins"),
        (json!({ "from": "2199-03-10" }), "range is empty"),
        (json!({ "from": "1970-01-01" }), "more than 10000"),
        (json!({ "from": "yesterday" }), "is a day"),
        (json!({ "from": "2026-03-01", "at_once": 0 }), "1 to 50"),
    ] {
        let (status, refused) = send(&app, Method::POST, path, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        assert!(text(&refused["detail"]).contains(said), "{said}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_is_cancelled_leaves_its_times_to_the_next() {
    let app = app().await;
    make(&app, "daily", json!({})).await;
    let body = json!({ "from": "2026-03-01", "until": "2026-03-05" });
    let path = "/api/v1/schedules/daily/backfill";
    let (_, run) = send(&app, Method::POST, path, body.clone()).await;
    // While it waits its times are its own, and the schedule stays.
    let (status, refused) = send(&app, Method::POST, path, body.clone()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(&refused["detail"]).contains("5 of them run or wait"), "{refused}");
    let (status, refused) = app.send(app.request(Method::DELETE, "/api/v1/schedules/daily")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text(&refused["detail"]).contains(text(&run["id"])), "{refused}");
    app.post(&format!("/api/v1/runs/{}/cancel", text(&run["id"]))).await;
    queries::drop_abandoned(&mut app.env.pool.get().await.unwrap()).await.unwrap();
    let (status, _) = send(&app, Method::POST, path, body).await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nightly_schedule_loads_the_day_before_and_a_backfill_the_days_before_that() {
    let app = App::start_with(AppOptions { zone: chrono_tz::Europe::Berlin, ..AppOptions::default() }).await;
    let kinds = shared::runs::registry::KINDS;
    {
        let mut conn = app.env.pool.get().await.unwrap();
        built_in::ensure(&mut conn, kinds, app.env.settings.zone, true).await.unwrap();
    }
    let nightly = app.get("/api/v1/schedules/nightly_data").await;
    assert_eq!(
        (&nightly["cron"], &nightly["zone"]),
        (&json!("1 0 * * *"), &json!("Europe/Berlin")),
        "{nightly}"
    );
    app.db
        .client
        .execute("UPDATE schedules SET next_at = now() WHERE name = 'nightly_data'", &[])
        .await
        .unwrap();
    assert_eq!(look(&app).await, 1);
    let run = text(&ticks(&app, "nightly_data").await[0]["run_id"]).to_owned();
    let ended = async |id: &str| {
        eventually("the end of a run", async || {
            let run = app.get(&format!("/api/v1/runs/{id}")).await;
            (!run["finished_at"].is_null()).then_some(run)
        })
        .await
    };
    let night = ended(&run).await;
    assert_eq!(night["state"], "completed", "{night}");
    let yesterday =
        (SystemClock.now().with_timezone(&chrono_tz::Europe::Berlin) - TimeDelta::days(1)).date_naive();
    assert_eq!(night["result"]["day"], yesterday.to_string(), "{night}");
    let loaded =
        "SELECT count(*) FROM transactions WHERE (occurred_at AT TIME ZONE 'Europe/Berlin')::date = $1";
    assert_eq!(app.db.one::<i64>(loaded, &[&yesterday]).await, 1_000);

    // The nights before, and all of them once more: a day has its transactions once.
    let body = json!({ "from": (yesterday - TimeDelta::days(2)).to_string(), "until": yesterday.to_string(), "all": true });
    for _ in 0..2 {
        let (status, run) =
            send(&app, Method::POST, "/api/v1/schedules/nightly_data/backfill", body.clone()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{run}");
        let filled = ended(text(&run["id"])).await;
        assert_eq!(
            (&filled["state"], &filled["result"]["times"]),
            (&json!("completed"), &json!(3)),
            "{filled}"
        );
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 4_000);
    // The steps that a flow adds are behind live work as its root is; the clients' summary is everybody's.
    app.db
        .expect_nothing(
            "SELECT s.kind, s.priority FROM runs s JOIN runs f ON f.id = s.flow_id
             WHERE f.created_by = 'backfill of nightly_data' AND s.priority < 10000
               AND s.kind <> 'refresh_client_summary'",
        )
        .await;
    tests::files::expect_everything_exact(&app.db).await;
}
