//! Pooled connections: what the server has closed is not handed out again.

use diesel::sql_types::Integer;
use diesel_async::RunQueryDsl;
use shared::db::DbPool;
use tests::{TestDatabase, eventually};

#[derive(diesel::QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// The backend that answers a connection of the pool; `None` if the connection is closed.
async fn backend(pool: &DbPool) -> Option<i32> {
    let mut conn = pool.get().await.expect("a connection");
    let asked = diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result::<Backend>(&mut conn);
    asked.await.ok().map(|backend| backend.pid)
}

#[tokio::test]
async fn connections_that_the_server_closed_are_replaced() {
    let database = TestDatabase::create().await;
    let pool = shared::db::pool(&database.config(), "test-connections").expect("a pool");
    let before = backend(&pool).await.expect("it answers");
    assert_eq!(backend(&pool).await, Some(before), "an idle connection is taken again");
    // Each round its connection ends between two uses, without anybody waiting for it.
    for _ in 0..3 {
        let closed = backend(&pool).await.expect("it answers");
        let ended: bool = database.one("SELECT pg_terminate_backend($1, 5000)", &[&closed]).await;
        assert!(ended);
        let other = eventually("another connection", || backend(&pool)).await;
        assert_ne!(other, closed);
        assert_eq!(backend(&pool).await, Some(other));
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test-connections'";
    assert_eq!(database.one::<i64>(open, &[]).await, 1, "the closed ones are gone");
}

#[tokio::test]
async fn a_closed_connection_that_is_in_use_does_not_come_back() {
    let database = TestDatabase::create().await;
    let pool = shared::db::pool(&database.config(), "test-connections").expect("a pool");
    let mut conn = pool.get().await.expect("a connection");
    let ended = diesel::sql_query("SELECT pg_terminate_backend(pg_backend_pid())").execute(&mut conn);
    assert!(ended.await.is_err());
    drop(conn);
    eventually("another connection", || backend(&pool)).await;
}
