//! Ten thousand children under one parent: out, in, and the parent's page.

use super::{BENCH, engine::Engine, latency::percentile};
use crate::report::Report;
use anyhow::ensure;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use shared::{
    auth::Role,
    ids::RunId,
    runs::{EnqueueOptions, Queue, RunError, RunState, enqueue_children, enqueue_flow},
};
use std::time::Instant;
use tests::{
    app::PASSWORD,
    kinds::{Gather, Noop},
};

/// From the enqueue to the parent's end, and how long its page takes meanwhile and afterwards.
pub async fn fan(report: &mut Report, engine: &Engine, children: usize) -> anyhow::Result<()> {
    let browser = log_in(engine).await?;
    let started = Instant::now();
    let root = RunId::generate();
    let by = EnqueueOptions::by("bench");
    {
        let mut pooled = engine.fleet.pool.get().await?;
        let conn: &mut AsyncPgConnection = &mut pooled;
        conn.transaction(async |conn| {
            enqueue_flow(conn, root, &Gather {}, &Noop {}, &by).await?;
            enqueue_children(conn, root, &vec![Noop {}; children - 1], &by).await?;
            Ok::<_, RunError>(())
        })
        .await?;
    }
    engine.fleet.doorbells.ring(Queue::Light, children as u64);
    let out = started.elapsed().as_secs_f64();
    let url = format!("{}/ui/runs/{root}", engine.app.url);
    let mut pages = Vec::new();
    for _ in 0..10 {
        pages.push(page_ms(&browser, &url).await?);
    }
    engine.fleet.until(root, RunState::Completed).await;
    let all = started.elapsed().as_secs_f64();
    for _ in 0..10 {
        pages.push(page_ms(&browser, &url).await?);
    }
    let context = format!(
        "{children} no-op children of one parent; {out:.2} s of it to enqueue them, in one transaction"
    );
    report.add(BENCH, "fan_10000_s", "s", "–", &context, all);
    let context = "the parent's page, while its children run and afterwards; the slower part";
    report.add(BENCH, "run_page_ms", "ms", "–", context, percentile(&mut pages, 0.9));
    Ok(())
}

async fn page_ms(browser: &reqwest::Client, url: &str) -> anyhow::Result<f64> {
    let asked = Instant::now();
    let answer = browser.get(url).send().await?;
    ensure!(answer.status().as_u16() == 200, "the run's page: {}", answer.status());
    answer.bytes().await?;
    Ok(asked.elapsed().as_secs_f64() * 1000.0)
}

async fn log_in(engine: &Engine) -> anyhow::Result<reqwest::Client> {
    let name = format!("browser-{}", uuid::Uuid::new_v4().simple());
    let mut conn = engine.fleet.pool.get().await?;
    shared::auth::create_user(&mut conn, &name, None, PASSWORD, Role::Viewer).await?;
    let browser =
        reqwest::Client::builder().cookie_store(true).redirect(reqwest::redirect::Policy::none()).build()?;
    let fields = [("username", name.as_str()), ("password", PASSWORD)];
    let answer = browser.post(format!("{}/ui/login", engine.app.url)).form(&fields).send().await?;
    ensure!(answer.status().as_u16() == 303, "logging in: {}", answer.status());
    Ok(browser)
}
