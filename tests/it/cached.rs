//! What is kept in Redis is never stale: not while Redis is stopped, restarted, emptied or cut off.

use serde_json::{Value, json};
use shared::cache::{Cache, Topic};
use std::time::Duration;
use tests::{
    App, eventually,
    processes::{Proxy, Redis},
};

const SERVED: [&str; 4] =
    ["/api/v1/clients/by-username/ann", "/api/v1/stocks/AAA", "/api/v1/stocks", "/api/v1/clients/ann/trades"];

async fn all(app: &App) -> Vec<Value> {
    let mut answers = Vec::new();
    for path in SERVED {
        answers.push(app.get(path).await);
    }
    answers
}

async fn hits(app: &App) -> f64 {
    let text = app.send(app.request(reqwest::Method::GET, "/metrics")).await.1;
    let text = text.as_str().unwrap().to_owned();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("millrace_cache_reads_total") && line.contains("\"hit\""));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// After each settled trade every answer is of after it.
async fn trade_and_look(app: &App, bought: i64) {
    assert_eq!(app.trade("ann", "buy", 1, "AAA").await["state"], "settled");
    let answers = all(app).await;
    assert_eq!(answers[0]["balance"], format!("{}.0000", 10_000 - bought), "{}", answers[0]);
    assert_eq!(answers[1]["volume"], 10_000 - bought, "{}", answers[1]);
    assert_eq!(answers[2]["items"][0]["volume"], 10_000 - bought, "{}", answers[2]);
    assert_eq!(answers[3]["items"].as_array().unwrap().len() as i64, bought.min(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_and_never_of_before_a_settled_trade() {
    let app = App::start().await;
    app.account("ann", "10000").await;
    app.stock("AAA", "1", 10_000).await;
    for bought in 1..=30 {
        trade_and_look(&app, bought).await;
    }
    let (first, before) = (all(&app).await, hits(&app).await);
    assert_eq!(all(&app).await, first);
    assert!(hits(&app).await >= before + 4.0, "they came from the cache");
    // What else changes them: a listing, an edit, an upload.
    app.stock("BBB", "1", 1).await;
    assert_eq!(app.get("/api/v1/stocks").await["items"][0]["ticker"], "BBB");
    let client = app.get("/api/v1/clients/by-username/ann").await;
    let patch = json!({ "contact_version": client["contact_version"], "name": "Ann" });
    app.send(app.request(reqwest::Method::PATCH, "/api/v1/clients/ann").json(&patch)).await;
    assert_eq!(app.get("/api/v1/clients/by-username/ann").await["name"], "Ann");
    let file = "transaction_id,client_id,date,amount,currency,type\n1,ann,2025-01-01,70,USD,sell\n";
    let upload = app.load("sell.csv", file, "").await;
    assert_eq!(app.get("/api/v1/clients/by-username/ann").await["balance"], "10040.0000");
    app.undo(&upload).await;
    assert_eq!(app.get("/api/v1/clients/by-username/ann").await["balance"], "9970.0000");
    app.load("clients.csv", "client_id,name\nann,Anna\n", "?kind=clients").await;
    let name = app.get("/api/v1/clients/by-username/ann").await["name"].clone();
    assert_eq!(name, app.get("/api/v1/clients/ann").await["name"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stops_comes_back_or_is_cut_off_makes_nothing_stale() {
    let mut redis = Redis::start();
    let app = App::start_with(tests::AppOptions { redis_url: Some(redis.url()), ..Default::default() }).await;
    app.account("ann", "10000").await;
    app.stock("AAA", "1", 10_000).await;
    let mut bought = 0;
    let mut trade = async |app: &App| {
        bought += 1;
        trade_and_look(app, bought).await;
    };
    trade(&app).await;
    redis.stop();
    trade(&app).await;
    trade(&app).await;
    redis.start_again();
    trade(&app).await;
    redis.flush();
    trade(&app).await;
    redis.freeze();
    trade(&app).await;
    redis.thaw();
    trade(&app).await;
    // When the writers' no has run out, and the blocks that they could not lift, it serves again.
    redis.flush();
    app.db.client.execute("UPDATE cache_trust SET distrust_until = now()", &[]).await.unwrap();
    let before = hits(&app).await;
    let app = &app;
    eventually("answers from the cache", || async move {
        all(app).await;
        (hits(app).await > before).then_some(())
    })
    .await;
}

/// A writer that cannot reach Redis, before a reader that can.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_cut_off_alone_makes_readers_pass_the_cache_by() {
    let app = App::start().await;
    let redis = Redis::start();
    let proxy = Proxy::to(redis.socket());
    let config = |url: String| Some(shared::config::RedisConfig { url, prefix: "cut".to_owned() });
    let (reader, writer) = (Cache::new(config(redis.url())), Cache::new(config(proxy.redis_url())));
    let topic = Topic::Stock("AAA".to_owned());
    let read = async |value: i64| {
        let answer: Result<Option<String>, anyhow::Error> =
            reader.json(&app.env.pool, &topic, "", async || Ok(Some(value))).await;
        answer.unwrap().unwrap()
    };
    assert_eq!(read(1).await, "1");
    eventually("a kept answer", || async { (read(2).await == "1").then_some(()) }).await;
    let change = async |work: i64| {
        writer.change(&app.env.pool, std::slice::from_ref(&topic), |_| true, async { work }).await.unwrap()
    };
    change(0).await;
    assert_eq!(read(3).await, "3", "the writer has told Redis");
    assert_eq!(read(4).await, "3");
    // Whether this one has committed is not known: nothing is read or kept until its block has run out.
    writer.change(&app.env.pool, std::slice::from_ref(&topic), |_| false, async {}).await.unwrap();
    assert_eq!((read(10).await, read(11).await), ("10".to_owned(), "11".to_owned()));
    redis.flush();
    eventually("answers that are kept again", || async { (read(3).await == read(4).await).then_some(()) })
        .await;
    proxy.cut();
    change(0).await;
    assert_eq!(read(5).await, "5", "the writer could not tell Redis, and told PostgreSQL");
    assert_eq!(read(6).await, "6");
    proxy.restore();
    // Nothing of before is believed when the cache is believed again.
    app.db.client.execute("UPDATE cache_trust SET distrust_until = now()", &[]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), async {
        while read(7).await != "7" || read(8).await != "7" {}
    })
    .await
    .expect("it serves again");
}
