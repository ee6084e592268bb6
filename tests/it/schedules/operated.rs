//! Schedules as people make, change and run them, through the API and on pages.

use super::{app, make, send, text, ticks};
use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    auth::Role,
    clock::{Clock, SystemClock},
};
use tests::browser::{Browser, location};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_said_field_by_field() {
    let app = app().await;
    let wrong = json!({ "name": "No Good", "cron": "61 * * * *", "zone": "Mars/Base", "kind": "nothing",
                        "catch_up_limit": 0, "description": "x".repeat(501) });
    let (status, problem) = send(&app, Method::POST, "/api/v1/schedules", wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| text(&error["field"])).collect();
    assert_eq!(fields, ["name", "description", "cron", "zone", "catch_up_limit", "kind"], "{problem}");
    for (body, field, said) in [
        (json!({ "name": "a", "kind": "noop" }), "cron", "has to have a cron expression"),
        (json!({ "name": "a", "cron": "0 0 30 2 *", "kind": "noop" }), "cron", "never comes"),
        (
            json!({ "name": "a", "cron": "@daily", "kind": "ingest_chunk" }),
            "kind",
            "cannot be put on a clock",
        ),
        (
            json!({ "name": "a", "cron": "@daily", "kind": "noop", "args": { "x": 1 } }),
            "args.x",
            "no such argument",
        ),
        (
            json!({ "name": "a", "cron": "@daily", "kind": "only", "args": { "key": "{{ tomorrow }}" } }),
            "args",
            "no placeholder",
        ),
        (
            json!({ "name": "a", "cron": "@daily", "kind": "noop", "missing": "wait" }),
            "missing",
            "none of skip, shift",
        ),
        (json!({ "name": "a", "cron": "@daily", "kind": "noop", "colour": 1 }), "colour", "unknown field"),
    ] {
        let (status, problem) = send(&app, Method::POST, "/api/v1/schedules", body).await;
        assert_eq!((status, text(&problem["field"])), (StatusCode::UNPROCESSABLE_ENTITY, field), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let made = make(&app, "a", json!({ "cron": "@hourly", "zone": "America/New_York" })).await;
    assert_eq!(
        (&made["repeated"], &made["cron_words"]),
        (&json!("both"), &json!("At minute 0 past every hour."))
    );
    let (status, _) = send(
        &app,
        Method::POST,
        "/api/v1/schedules",
        json!({ "name": "a", "cron": "@daily", "kind": "noop" }),
    )
    .await;
    assert_eq!(status, StatusCode::CONFLICT);

    // Only what is given changes; who was overtaken is told.
    let (status, edited) =
        send(&app, Method::PATCH, "/api/v1/schedules/a", json!({ "cron": "5 0 * * *", "version": 1 })).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&edited["version"], &edited["zone"], &edited["repeated"]),
        (&json!(2), &json!("America/New_York"), &json!("first")),
        "{edited}"
    );
    let (status, stale) =
        send(&app, Method::PATCH, "/api/v1/schedules/a", json!({ "cron": "6 0 * * *", "version": 1 })).await;
    assert_eq!((status, text(&stale["field"])), (StatusCode::CONFLICT, "version"), "{stale}");
    // A tick that is just due is not lost by it, nor is a policy that is asked for with an expression.
    app.db.client.execute("UPDATE schedules SET next_at = now() - interval '2 seconds'", &[]).await.unwrap();
    let (_, said) =
        send(&app, Method::PATCH, "/api/v1/schedules/a", json!({ "description": "x", "version": 2 })).await;
    assert!(text(&said["next_at"]).parse::<DateTime<Utc>>().unwrap() < SystemClock.now(), "{said}");
    let body = json!({ "cron": "@hourly", "repeated": "first", "description": null });
    let (_, asked) = send(&app, Method::PATCH, "/api/v1/schedules/a", body).await;
    assert_eq!((&asked["repeated"], &asked["version"]), (&json!("first"), &json!(4)), "{asked}");
    let (_, same) = send(&app, Method::PATCH, "/api/v1/schedules/a", json!({})).await;
    assert_eq!(same["version"], 4, "{same}");
    let (_, named) =
        send(&app, Method::PATCH, "/api/v1/schedules/a", json!({ "name": "b", "description": "what" })).await;
    assert_eq!((&named["name"], &named["description"]), (&json!("b"), &json!("what")));
    let (_, cleared) = send(&app, Method::PATCH, "/api/v1/schedules/b", json!({ "description": null })).await;
    assert_eq!(cleared["description"], Value::Null);
    assert_eq!(app.send(app.request(Method::GET, "/api/v1/schedules/a")).await.0, StatusCode::NOT_FOUND);
    let (status, _) = app.send(app.request(Method::DELETE, "/api/v1/schedules/b")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let audited = "SELECT count(*) FROM audit_log WHERE action LIKE 'schedule.%'";
    assert_eq!(app.db.one::<i64>(audited, &[]).await, 7);
    for role in [Role::Viewer, Role::Integration] {
        let token = app.token(role).await;
        let request = app.anonymous(Method::POST, "/api/v1/schedules").bearer_auth(&token).json(&json!({}));
        assert_eq!(app.send(request).await.0, StatusCode::FORBIDDEN, "{role}");
        let request = app.anonymous(Method::GET, "/api/v1/schedules").bearer_auth(&token);
        assert_eq!(app.send(request).await.0, StatusCode::OK, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_is_read_with_the_changes_of_the_clock() {
    let app = app().await;
    let read = app.get("/api/v1/cron?cron=30+2+*+*+*&zone=Europe/Berlin&after=2027-03-27&missing=skip").await;
    assert_eq!(read["words"], "At 02:30.");
    let times = read["upcoming"].as_array().unwrap();
    // Five that fire, and the one that the day does not have.
    assert_eq!(times.len(), 6, "{read}");
    assert_eq!((&times[1]["clock_change"], &times[1]["fires"]), (&json!("skipped"), &json!(false)), "{read}");
    assert!(text(&times[1]["note"]).contains("there is no 02:30"), "{read}");
    assert_eq!(times[2]["local"], "2027-03-29T02:30:00+02:00");
    assert_eq!(times[2]["at"], "2027-03-29T00:30:00Z");
    for (query, field) in [
        ("cron=1+2+3", "cron"),
        ("cron=@daily&zone=Moon", "zone"),
        ("cron=@daily&repeated=never", "repeated"),
    ] {
        let (status, problem) = app.send(app.request(Method::GET, &format!("/api/v1/cron?{query}"))).await;
        assert_eq!((status, text(&problem["field"])), (StatusCode::BAD_REQUEST, field), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_run_by_hand_with_its_own_or_other_arguments() {
    let app = app().await;
    make(&app, "only", json!({ "kind": "only", "args": { "key": "{{ date }}" }, "zone": "Asia/Tehran" }))
        .await;
    let (status, run) = app.post("/api/v1/schedules/only/run").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    let today = SystemClock.now().with_timezone(&chrono_tz::Asia::Tehran).date_naive().to_string();
    assert_eq!(run["args"]["key"], today.as_str());
    // The run that excludes others stands for the second.
    let (status, same) = app.post("/api/v1/schedules/only/run").await;
    assert_eq!((status, &same["id"]), (StatusCode::OK, &run["id"]));
    let body = json!({ "args": { "key": "other" } });
    let (status, other) = send(&app, Method::POST, "/api/v1/schedules/only/run", body).await;
    assert_eq!((status, &other["args"]["key"]), (StatusCode::ACCEPTED, &json!("other")));
    let (status, refused) =
        send(&app, Method::POST, "/api/v1/schedules/only/run", json!({ "args": {} })).await;
    assert_eq!((status, text(&refused["field"])), (StatusCode::UNPROCESSABLE_ENTITY, "args"), "{refused}");
    assert!(text(&refused["detail"]).contains("missing field `key`"), "{refused}");
    let outcomes: Vec<Value> =
        ticks(&app, "only").await.into_iter().map(|tick| tick["outcome"].clone()).collect();
    assert_eq!(outcomes, ["fired", "joined", "fired"]);
    // The same request twice is one run.
    let twice = || {
        app.request(Method::POST, "/api/v1/schedules/only/run")
            .header("Idempotency-Key", "k")
            .json(&json!({ "args": { "key": "third" } }))
    };
    let (first, second) = (app.send(twice()).await, app.send(twice()).await);
    assert_eq!((first.0, second.0, &first.1["id"]), (StatusCode::ACCEPTED, StatusCode::OK, &second.1["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_makes_changes_pauses_and_fills_in_schedules_on_the_pages() {
    let app = app().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let csrf = browser.csrf.clone();
    let send = async |path: &str, fields: &[(&str, &str)]| {
        let mut form = vec![("csrf_token", csrf.as_str())];
        form.extend(fields);
        browser.post(path, &form).await
    };
    let typed = [("name", "reports"), ("zone", "Europe/Berlin"), ("kind", "noop"), ("args", "{}")];
    let with = |more: &[(&'static str, &'static str)]| [&typed[..], more].concat();
    assert!(browser.page("/ui/schedules").await.contains("No schedules yet"));
    assert!(browser.page("/ui/schedules/new").await.contains("Make the schedule"));
    // What is wrong is said at its field, and what was typed stays.
    let refused = send("/ui/schedules", &with(&[("cron", "61 * * * *")])).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let refused = refused.text().await.unwrap();
    assert!(refused.contains("The minute cannot be") && refused.contains("value=\"reports\""), "{refused}");
    // Looking at the times makes nothing.
    let seen = send("/ui/schedules", &with(&[("cron", "30 2 * * *"), ("look", "yes")])).await;
    let seen = seen.text().await.unwrap();
    assert!(seen.contains("At 02:30."), "{seen}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM schedules", &[]).await, 0);
    let made = send("/ui/schedules", &with(&[("cron", "30 2 * * *")])).await;
    assert_eq!(location(&made), "/ui/schedules/reports?notice=schedule-made");
    let page = browser.page("/ui/schedules/reports").await;
    assert!(
        page.contains("At 02:30.") && page.contains("In Europe/Berlin") && page.contains("In UTC"),
        "{page}"
    );

    let edit = browser.page("/ui/schedules/reports/edit").await;
    assert!(edit.contains("name=\"version\" value=\"1\""), "{edit}");
    let saved = send("/ui/schedules/reports/edit", &with(&[("cron", "@hourly"), ("version", "1")])).await;
    assert_eq!(location(&saved), "/ui/schedules/reports?notice=schedule-saved");
    let stale = send("/ui/schedules/reports/edit", &with(&[("cron", "@daily"), ("version", "1")])).await;
    assert_eq!(stale.status(), StatusCode::CONFLICT);
    assert!(stale.text().await.unwrap().contains("was changed since you read it"));

    let ran = location(&send("/ui/schedules/reports/run", &[]).await);
    assert!(ran.starts_with("/ui/runs/") && ran.ends_with("?notice=schedule-run"), "{ran}");
    assert!(browser.page("/ui/schedules/reports/run").await.contains("Run it now"));
    let wrong = send("/ui/schedules/reports/run", &[("args", "{")]).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);

    send("/ui/schedules/reports/pause", &[("reason", "<b>audit</b>"), ("until", "")]).await;
    let page = browser.page("/ui/schedules/reports").await;
    assert!(page.contains("audit") && !page.contains("<b>audit"), "{page}");
    let past = send("/ui/schedules/reports/pause", &[("until", "2020-01-01T00:00")]).await;
    assert_eq!(past.status(), StatusCode::UNPROCESSABLE_ENTITY);
    send("/ui/schedules/reports/enable", &[]).await;
    assert_eq!(app.get("/api/v1/schedules/reports").await["enabled"], true);

    let page = browser.page("/ui/schedules/reports/backfill?from=2026-03-01&until=2026-03-01").await;
    assert!(page.contains("24 times of 24 would run"), "{page}");
    let range = [("from", "2026-03-01"), ("until", "2026-03-01"), ("at_once", "3")];
    let run = location(&send("/ui/schedules/reports/backfill", &range).await);
    assert!(run.ends_with("?notice=backfilling"), "{run}");
    assert_eq!(
        send("/ui/schedules/reports/backfill", &range).await.status(),
        StatusCode::UNPROCESSABLE_ENTITY
    );

    // Deleting asks first; a schedule that is being filled in stays.
    let run = run.trim_start_matches("/ui/runs/").split('?').next().unwrap();
    assert_eq!(
        send("/ui/schedules/reports/delete", &[("confirmed", "yes")]).await.status(),
        StatusCode::CONFLICT
    );
    app.post(&format!("/api/v1/runs/{run}/cancel")).await;
    let asked = send("/ui/schedules/reports/delete", &[]).await.text().await.unwrap();
    assert!(asked.contains("Delete the schedule reports?"), "{asked}");
    let gone = send("/ui/schedules/reports/delete", &[("confirmed", "yes")]).await;
    assert_eq!(location(&gone), "/ui/schedules?notice=schedule-deleted");
    let viewer = Browser::log_in(&app, Role::Viewer).await;
    assert!(viewer.page("/ui/schedules").await.contains("needs the role operator"));
}
