//! Account holders, stocks and orders over HTTP, and what must hold of all of them at rest.

use crate::{App, TestDatabase};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

impl App {
    /// POSTs JSON as the administrator.
    pub fn posting(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).json(body)
    }

    /// Registers an account holder whose id is its username.
    pub async fn account(&self, username: &str, balance: &str) {
        let body = json!({ "username": username, "client_id": username, "balance": balance });
        let (status, answer) = self.send(self.posting("/api/v1/clients", &body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// Lists a stock of this price.
    pub async fn stock(&self, ticker: &str, price: &str, volume: i64) {
        let body = json!({ "ticker": ticker, "open_price": price, "close_price": price, "high": price, "low": price,
                           "volume": volume });
        let (status, answer) = self.send(self.posting("/api/v1/stocks", &body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// An order.
    pub fn order(&self, client: &str, side: &str, volume: i64, ticker: &str) -> RequestBuilder {
        let body = json!({ "client_id": client, "ticker": ticker, "side": side, "volume": volume });
        self.posting("/api/v1/trades", &body)
    }

    /// Places an order and waits for its outcome.
    pub async fn trade(&self, client: &str, side: &str, volume: i64, ticker: &str) -> Value {
        let order = self.order(client, side, volume, ticker).header("Prefer", "wait=30");
        let (status, trade) = self.send(order).await;
        assert_eq!(status, StatusCode::OK, "{trade}");
        trade
    }

    /// Waits until no trade is pending.
    pub async fn until_decided(&self) {
        crate::eventually("the last trade's outcome", || async {
            let pending: i64 = self.db.one("SELECT count(*) FROM trades WHERE state = 'pending'", &[]).await;
            (pending == 0).then_some(())
        })
        .await;
    }
}

impl TestDatabase {
    /// The ledger's own proof, once more in other words: for the moment when nothing is on its way.
    pub async fn expect_ledger_exact(&self) {
        for (what, statement) in [
            ("a journal that does not balance", "SELECT journal_id FROM entries GROUP BY journal_id, asset_kind, asset HAVING sum(amount) <> 0"),
            ("a negative balance, volume or holding", "SELECT ticker FROM stocks WHERE volume < 0
               UNION ALL SELECT client_id FROM holdings WHERE shares < 0
               UNION ALL SELECT client_id FROM clients WHERE position < 0"),
            ("a position that is not its entries", "SELECT c.client_id FROM clients c WHERE c.position <> c.opening_balance
               + (SELECT coalesce(sum(e.amount), 0) FROM entries e WHERE e.client_id = c.client_id AND e.asset_kind = 'cash')"),
            ("shares that are neither held nor to be bought", "SELECT s.ticker FROM stocks s WHERE s.listed_volume <> s.volume
               + (SELECT coalesce(sum(h.shares), 0) FROM holdings h WHERE h.ticker = s.ticker)"),
            ("a holding that is not its entries", "SELECT h.client_id FROM holdings h WHERE h.shares <>
               (SELECT coalesce(sum(e.amount), 0) FROM entries e WHERE e.client_id = h.client_id AND e.asset_kind = 'shares' AND e.asset = h.ticker)"),
            ("a settled trade without its journal, its transaction or its run's end", "SELECT t.id::text FROM trades t
               WHERE t.state IN ('settled', 'reversed') AND NOT (
                 (SELECT count(*) FROM journals j WHERE j.source_id = t.id AND j.kind = 'trade') = 1
                 AND (SELECT count(*) FROM transactions x WHERE x.transaction_id = t.id::text AND x.source = 'trade' AND x.source_id = t.id
                      AND x.client_id = t.client_id AND x.kind = t.side AND x.amount = t.amount AND x.shares = t.volume) = 1
                 AND (SELECT r.state FROM runs r WHERE r.id = t.run_id) = 'completed')"),
            ("a rejected trade that moved something", "SELECT t.id::text FROM trades t WHERE t.state = 'rejected' AND (
                 EXISTS (SELECT FROM journals j WHERE j.source_id = t.id)
                 OR EXISTS (SELECT FROM transaction_keys k WHERE k.transaction_id = t.id::text))"),
            ("a decided trade that the feed is not told once", "SELECT t.id::text FROM trades t WHERE t.state <> 'pending' AND t.reason IS DISTINCT FROM 'cancelled'
               AND 1 <> (SELECT count(*) FROM feed_outbox o, jsonb_array_elements(o.events) AS e WHERE e->>'trade_id' = t.id::text)"),
        ] {
            let found: i64 = self.one(&format!("SELECT count(*) FROM ({statement}) AS x"), &[]).await;
            assert_eq!(found, 0, "{what}: {statement}");
        }
    }
}
