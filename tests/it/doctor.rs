//! `millrace doctor`, `migrate --check` and `ready`: what is wrong is named, with how to mend it.

use serde_json::Value;
use std::process::Command;
use tests::{App, AppOptions, processes::millrace};

/// Calls the executable on the app's servers; whether it ended well, and what it said.
fn call(app: &App, arguments: &[&str], changes: &[(&str, &str)]) -> (bool, String) {
    let done = Command::new(millrace())
        .args(arguments)
        .env("DATABASE_URL", &app.db.url)
        .env("REDIS_URL", &app.redis.url)
        .env("MILLRACE_DATA_DIR", app.data_dir())
        .envs(changes.iter().copied())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (done.status.success(), said)
}

/// The worst verdict on an area, and what was said with it. A fault, and nothing else, makes it end badly.
fn examined(app: &App, area: &str, changes: &[(&str, &str)]) -> (String, String) {
    let (ended_well, said) = call(app, &["doctor", "--json"], changes);
    let findings: Vec<Value> = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(ended_well, !findings.iter().any(|finding| finding["verdict"] == "fault"), "{said}");
    let of_area: Vec<&Value> = findings.iter().filter(|finding| finding["area"] == area).collect();
    let worst = of_area.iter().find(|finding| finding["verdict"] != "ok").or(of_area.first());
    let worst = worst.unwrap_or_else(|| panic!("nothing of {area}: {said}"));
    assert!(worst["verdict"] == "ok" || worst["mend"].is_string(), "it says how to mend it: {worst}");
    (worst["verdict"].as_str().unwrap().to_owned(), worst.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_found_and_how_to_mend_it() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let well = |area: &str| {
        let (verdict, said) = examined(&app, area, &[]);
        assert!(verdict == "ok", "{said}");
    };
    for area in
        ["configuration", "database", "migrations", "partitions", "clock", "disk", "files", "redis", "runs"]
    {
        well(area);
    }
    for area in ["workers", "schedulers"] {
        let (verdict, said) = examined(&app, area, &[]);
        assert!(verdict == "warning", "{said}");
    }
    for (area, change, part) in [
        ("configuration", ("MILLRACE_LEASE_MS", "soon"), "MILLRACE_LEASE_MS"),
        ("configuration", ("MILLRACE_DATABASE_POOL", "0"), "the least is 1"),
        ("configuration", ("MILLRACE_PUBLIC_URL", "nope"), "begins with http://"),
        (
            "configuration",
            ("DATABASE_URL", "mysql://nobody:secret@127.0.0.1/none"),
            "begins with postgres://",
        ),
        ("database", ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"), "Connection refused"),
        ("files", ("MILLRACE_STORAGE", "file:///dev/null/files"), "cannot be written"),
    ] {
        let (verdict, said) = examined(&app, area, &[change]);
        assert!(verdict == "fault" && said.contains(part) && !said.contains("secret"), "{said}");
    }
    let (verdict, said) = examined(&app, "configuration", &[("MILLRACE_SECURE_COOKIE", "true")]);
    assert!(verdict == "warning" && said.contains("nothing reads it"), "{said}");
    let more = if app.db.url.contains('?') { '&' } else { '?' };
    let read_only = format!("{}{more}options=-c%20default_transaction_read_only%3Don", app.db.url);
    let (verdict, said) = examined(&app, "database", &[("DATABASE_URL", &read_only)]);
    assert!(verdict == "fault" && said.contains("name the primary"), "{said}");
    let (verdict, said) = examined(&app, "redis", &[("REDIS_URL", "redis://127.0.0.1:1")]);
    assert!(verdict == "warning", "nothing is lost without it: {said}");

    let run = async |statement: &str| app.db.client.batch_execute(statement).await.unwrap();
    run("CREATE TABLE transactions_2031_01 (LIKE transactions)").await;
    let (verdict, said) = examined(&app, "partitions", &[]);
    assert!(verdict == "fault" && said.contains("transactions_2031_01 is not attached"), "{said}");
    run("DROP TABLE transactions_2031_01").await;

    run("INSERT INTO runs (id, flow_id, kind, queue, run_at, state, max_attempts, created_by)
         SELECT id, id, 'refresh_client_summary', 'default', now() - interval '1 hour', 'available', 1, 'test'
         FROM gen_random_uuid() AS id")
    .await;
    let (verdict, said) = examined(&app, "runs", &[]);
    assert!(verdict == "warning" && said.contains("1 have waited"), "{said}");

    // A newer version was here, and then one that is older than this.
    assert!(call(&app, &["migrate", "--check"], &[]).0);
    run("INSERT INTO __diesel_schema_migrations (version, run_on) VALUES ('99991231000000', now())").await;
    let (ended_well, said) = call(&app, &["migrate", "--check"], &[]);
    assert!(ended_well && said.contains("99991231000000"), "{said}");
    assert_eq!(examined(&app, "migrations", &[]).0, "warning");
    run("DELETE FROM __diesel_schema_migrations WHERE version >= (
             SELECT max(version) FROM __diesel_schema_migrations WHERE version < '9999')")
    .await;
    let (ended_well, said) = call(&app, &["migrate", "--check"], &[]);
    assert!(
        !ended_well && said.contains("to be applied: 2026") && said.contains("millrace migrate"),
        "{said}"
    );
    let (verdict, said) = examined(&app, "migrations", &[]);
    assert!(verdict == "fault" && said.contains("millrace migrate"), "{said}");
    let alone = [("MILLRACE_ADMIN_PASSWORD", "long enough for anybody")];
    let (ended_well, said) = call(&app, &["migrate"], &alone);
    assert!(!ended_well && said.contains("MILLRACE_ADMIN_USERNAME is not"), "{said}");
    assert!(!call(&app, &["migrate", "--check"], &[]).0, "nothing was applied");
    let (ended_well, said) = call(&app, &["restored"], &[]);
    assert!(!ended_well && said.contains("run `millrace migrate`"), "{said}");
    let readyz = format!("{}/readyz", app.url);
    let (ended_well, said) = call(&app, &["ready", &readyz], &[]);
    assert!(!ended_well && said.contains("503"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_needs_no_other_program() {
    let app = App::start().await;
    let (ended_well, said) = call(&app, &["ready", &format!("{}/readyz", app.url)], &[]);
    assert!(ended_well && said.contains("\"ready\""), "{said}");
    let listen = app.url.strip_prefix("http://").unwrap();
    let (ended_well, said) = call(&app, &["ready"], &[("MILLRACE_LISTEN", listen)]);
    assert!(ended_well && said.contains("\"ready\""), "{said}");
    let (ended_well, said) = call(&app, &["ready", "http://127.0.0.1:1/livez"], &[]);
    assert!(!ended_well && said.contains("does not answer"), "{said}");
}
