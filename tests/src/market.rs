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
            (
                "a journal that does not balance",
                "SELECT journal_id FROM entries GROUP BY journal_id, asset_kind, asset HAVING sum(amount) <> 0",
            ),
            (
                "a negative balance, volume or holding",
                "SELECT ticker FROM stocks WHERE volume < 0
                 UNION ALL SELECT client_id FROM holdings WHERE shares < 0
                 UNION ALL SELECT client_id FROM clients WHERE position < 0",
            ),
            (
                "a position that is not its entries",
                "SELECT client_id FROM clients c
                 LEFT JOIN (SELECT client_id, sum(amount) AS moved FROM entries WHERE asset_kind = 'cash' GROUP BY 1) AS e
                   USING (client_id)
                 WHERE c.position <> c.opening_balance + coalesce(e.moved, 0)",
            ),
            (
                "shares that are neither held nor to be bought",
                "SELECT ticker FROM stocks s
                 LEFT JOIN (SELECT ticker, sum(shares) AS held FROM holdings GROUP BY 1) AS h USING (ticker)
                 WHERE s.listed_volume <> s.volume + coalesce(h.held, 0)",
            ),
            (
                "a holding that is not its entries",
                "SELECT client_id FROM holdings h
                 FULL JOIN (SELECT client_id, asset AS ticker, sum(amount) AS moved FROM entries
                            WHERE asset_kind = 'shares' AND account = 'client' GROUP BY 1, 2) AS e USING (client_id, ticker)
                 WHERE coalesce(h.shares, 0) <> coalesce(e.moved, 0)",
            ),
            (
                "a settled trade without its one journal, its transaction or its run's end",
                "SELECT t.id FROM trades t
                 LEFT JOIN (SELECT source_id, count(*) AS n FROM journals WHERE kind = 'trade' GROUP BY 1) AS j
                   ON j.source_id = t.id
                 LEFT JOIN transactions x ON x.source = 'trade' AND x.source_id = t.id AND x.transaction_id = t.id::text
                   AND (x.client_id, x.kind, x.amount, x.shares) = (t.client_id, t.side, t.amount, t.volume)
                 LEFT JOIN runs r ON r.id = t.run_id
                 WHERE t.state IN ('settled', 'reversed')
                   AND (j.n IS DISTINCT FROM 1 OR x.transaction_id IS NULL OR r.state IS DISTINCT FROM 'completed')",
            ),
            (
                "a transaction of no settled trade",
                "SELECT x.transaction_id FROM transactions x LEFT JOIN trades t ON t.id = x.source_id
                 WHERE x.source = 'trade' AND coalesce(t.state, '') NOT IN ('settled', 'reversed')",
            ),
            (
                "a rejected trade that moved something",
                "SELECT t.id FROM trades t LEFT JOIN journals j ON j.source_id = t.id
                 LEFT JOIN transaction_keys k ON k.transaction_id = t.id::text
                 WHERE t.state = 'rejected' AND (j.id IS NOT NULL OR k.transaction_id IS NOT NULL)",
            ),
            (
                "a decided trade that the feed is not told once",
                "SELECT t.id FROM trades t
                 LEFT JOIN (SELECT (e->'trade'->>'id')::uuid AS id, count(*) AS n
                            FROM feed_outbox, json_array_elements(events) AS e
                            WHERE e->'trade' IS NOT NULL GROUP BY 1) AS o USING (id)
                 WHERE t.state <> 'pending' AND t.reason IS DISTINCT FROM 'cancelled' AND o.n IS DISTINCT FROM 1",
            ),
        ] {
            let found: i64 = self.one(&format!("SELECT count(*) FROM ({statement}) AS x"), &[]).await;
            assert_eq!(found, 0, "{what}: {statement}");
        }
    }
}
