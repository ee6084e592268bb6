//! Writing what was decided: accounts, ledger, trades, their transactions; and telling clients and the feed.

use super::{
    book::{Book, Fill},
    model::{Reason, Side, TradeState},
    settlement::{Accounts, Decided, prepared},
};
use crate::{
    clock::Clock,
    db::LoadTransaction,
    feed::event,
    ids::{JournalId, TradeId},
    money::{UNITS, decimal_of},
    notifications::{
        Event,
        events::tell_all,
        values::{Amount, TradeRejected, TradeSettled},
    },
    runs::Environment,
    transactions::load::{self, Source},
};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::BTreeSet;
use tokio_postgres::{Error, Transaction};
use uuid::Uuid;

/// A numeric column's value. What no column holds is refused by PostgreSQL.
fn decimal(units: i128) -> Decimal {
    decimal_of(units).unwrap_or(Decimal::MAX)
}

/// Writes what was decided: the accounts, the ledger, the trades and their transactions.
pub(super) async fn write(
    transaction: &LoadTransaction<'_>,
    decided: &[Decided<'_>],
    accounts: &Accounts,
    env: &Environment,
) -> Result<(), Error> {
    move_accounts(transaction, &accounts.book).await?;
    post(transaction, decided, &accounts.book).await?;
    end_trades(transaction, decided, &accounts.book).await?;
    let took_place = prepared(decided, &accounts.book.stocks);
    load::add_registered(transaction, &took_place, Source::TRADES, env.settings.zone).await
}

/// Announces what was decided to those who want to know. It takes no lock.
pub(super) async fn announce(
    transaction: &LoadTransaction<'_>,
    decided: &[Decided<'_>],
    book: &Book,
) -> Result<(), Error> {
    let told: Vec<(Event, String, serde_json::Value)> = decided
        .iter()
        .filter_map(|Decided { trade, outcome, .. }| {
            let (event, data) = match outcome {
                Ok(fill) => {
                    let account = book.accounts.get(&trade.client_id)?;
                    let settled = TradeSettled {
                        trade_id: trade.id,
                        client_id: trade.client_id.clone(),
                        side: trade.side,
                        ticker: trade.ticker.clone(),
                        volume: trade.volume.unsigned_abs(),
                        price: Amount(decimal(fill.price)),
                        amount: Amount(decimal(fill.amount)),
                        currency: book.stocks.get(&trade.ticker)?.currency.clone(),
                        account_amount: Some(Amount(decimal(fill.moved.account_amount))),
                        account_currency: Some(account.currency.clone()),
                        reversal_of: trade.reverses.as_ref().map(|reversed| reversed.id),
                    };
                    (Event::TradeSettled, serde_json::to_value(settled))
                }
                Err(reason) => {
                    let rejected = TradeRejected {
                        trade_id: trade.id,
                        client_id: trade.client_id.clone(),
                        side: trade.side,
                        ticker: trade.ticker.clone(),
                        volume: trade.volume.unsigned_abs(),
                        reason: *reason,
                        explanation: Some(reason.explained().to_owned()),
                    };
                    (Event::TradeRejected, serde_json::to_value(rejected))
                }
            };
            Some((event, trade.id.to_string(), data.ok()?))
        })
        .collect();
    tell_all(transaction, &told).await
}

#[derive(Serialize)]
struct TradeEvent<'e> {
    #[serde(rename = "type")]
    kind: &'static str,
    at: &'e str,
    trade: Told<'e>,
}

/// A decided trade as the feed tells it.
#[derive(Serialize)]
struct Told<'e> {
    id: TradeId,
    client_id: &'e str,
    ticker: &'e str,
    side: Side,
    volume: i64,
    state: TradeState,
    reason: Option<Reason>,
    reversal_of: Option<TradeId>,
    occurred_at: DateTime<Utc>,
    price: Option<Decimal>,
    amount: Option<Decimal>,
    currency: Option<&'e str>,
}

/// Commits, and tells the feed what was decided.
pub(super) async fn commit_telling(
    transaction: LoadTransaction<'_>,
    decided: &[Decided<'_>],
    book: &Book,
    clock: &dyn Clock,
) -> Result<(), Error> {
    let at = event::at(clock.now());
    let events = decided.iter().map(|Decided { trade, at_us, outcome }| {
        let fill = outcome.as_ref().ok();
        let told = Told {
            id: trade.id,
            client_id: &trade.client_id,
            ticker: &trade.ticker,
            side: trade.side,
            volume: trade.volume,
            state: fill.map_or(TradeState::Rejected, |_| TradeState::Settled),
            reason: outcome.as_ref().err().copied(),
            reversal_of: trade.reverses.as_ref().map(|reversed| reversed.id),
            occurred_at: DateTime::from_timestamp_micros(*at_us).unwrap_or_default(),
            price: fill.map(|fill| decimal(fill.price)),
            amount: fill.map(|fill| decimal(fill.amount)),
            currency: fill.and_then(|_| Some(book.stocks.get(&trade.ticker)?.currency.as_str())),
        };
        let kind = fill.map_or(event::REJECTED, |_| event::SETTLED);
        TradeEvent { kind, at: &at, trade: told }
    });
    event::commit_telling(transaction, &events.collect::<Vec<_>>()).await
}

async fn move_accounts(transaction: &Transaction<'_>, book: &Book) -> Result<(), Error> {
    if book.changed.is_empty() {
        return Ok(());
    }
    let clients: BTreeSet<&String> = book.changed.iter().map(|(client, _)| client).collect();
    let tickers: BTreeSet<&String> = book.changed.iter().map(|(_, ticker)| ticker).collect();
    let (clients, positions): (Vec<&str>, Vec<Decimal>) = clients
        .into_iter()
        .filter_map(|client| Some((client.as_str(), decimal(book.accounts.get(client)?.position))))
        .unzip();
    transaction
        .execute(
            "UPDATE clients c SET position = v.position
             FROM unnest($1::text[], $2::numeric[]) AS v (client_id, position) WHERE c.client_id = v.client_id",
            &[&clients, &positions],
        )
        .await?;
    let (tickers, volumes): (Vec<&str>, Vec<i64>) = tickers
        .into_iter()
        .filter_map(|ticker| Some((ticker.as_str(), book.stocks.get(ticker)?.volume)))
        .unzip();
    transaction
        .execute(
            "UPDATE stocks s SET volume = v.volume
             FROM unnest($1::text[], $2::bigint[]) AS v (ticker, volume) WHERE s.ticker = v.ticker",
            &[&tickers, &volumes],
        )
        .await?;
    let (mut holders, mut held, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut costs, mut realised) = (Vec::new(), Vec::new());
    for key in &book.changed {
        let Some(position) = book.holdings.get(key) else { continue };
        holders.push(key.0.as_str());
        held.push(key.1.as_str());
        shares.push(position.shares);
        costs.push(decimal(position.cost));
        realised.push(decimal(position.realised));
    }
    transaction
        .execute(
            "INSERT INTO holdings (client_id, ticker, shares, cost, realised)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::numeric[], $5::numeric[])
             ON CONFLICT (client_id, ticker) DO UPDATE
             SET shares = excluded.shares, cost = excluded.cost, realised = excluded.realised",
            &[&holders, &held, &shares, &costs, &realised],
        )
        .await?;
    Ok(())
}

/// The columns of entries that are to be posted.
#[derive(Default)]
struct Entries<'e> {
    journals: Vec<Uuid>,
    numbers: Vec<i32>,
    amounts: Vec<Decimal>,
    accounts: Vec<&'static str>,
    clients: Vec<Option<&'e str>>,
    kinds: Vec<&'static str>,
    assets: Vec<&'e str>,
}

impl<'e> Entries<'e> {
    /// To the client, and from the clearing account. Nothing is no entry.
    fn pair(
        &mut self,
        journal: JournalId,
        number: i32,
        client: &'e str,
        kind: &'static str,
        asset: &'e str,
        amount: i128,
    ) {
        if amount == 0 {
            return;
        }
        let sides = [("client", Some(client), amount), ("clearing", None, -amount)];
        for ((account, client, amount), number) in sides.into_iter().zip(number..) {
            self.journals.push(journal.0);
            self.numbers.push(number);
            self.amounts.push(decimal(amount));
            self.accounts.push(account);
            self.clients.push(client);
            self.kinds.push(kind);
            self.assets.push(asset);
        }
    }
}

/// A journal for each settled trade: cash one way, shares the other, against the clearing account.
async fn post(transaction: &Transaction<'_>, decided: &[Decided<'_>], book: &Book) -> Result<(), Error> {
    let (mut journals, mut sources, mut originals) = (Vec::new(), Vec::new(), Vec::new());
    let mut entries = Entries::default();
    for Decided { trade, outcome, .. } in decided {
        let (Ok(fill), Some(account)) = (outcome, book.accounts.get(&trade.client_id)) else { continue };
        let (cash, shares) = match trade.side {
            Side::Buy => (-fill.moved.account_amount, i128::from(trade.volume) * UNITS),
            Side::Sell => (fill.moved.account_amount, -i128::from(trade.volume) * UNITS),
        };
        let journal = JournalId::generate();
        journals.push(journal.0);
        sources.push(trade.id.0);
        originals.push(trade.reverses.as_ref().map(|reversed| reversed.id.0));
        entries.pair(journal, 1, &trade.client_id, "cash", &account.currency, cash);
        entries.pair(journal, 3, &trade.client_id, "shares", &trade.ticker, shares);
    }
    if journals.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            "INSERT INTO journals (id, kind, source_id, reversal_of)
             SELECT v.id, 'trade', v.trade, j.id
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS v (id, trade, original)
             LEFT JOIN journals j ON j.source_id = v.original AND j.kind = 'trade'
             ORDER BY v.id",
            &[&journals, &sources, &originals],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO entries (journal_id, entry, amount, account, client_id, asset_kind, asset)
             SELECT * FROM unnest($1::uuid[], $2::integer[], $3::numeric[], $4::text[], $5::text[], $6::text[], $7::text[])",
            &[
                &entries.journals,
                &entries.numbers,
                &entries.amounts,
                &entries.accounts,
                &entries.clients,
                &entries.kinds,
                &entries.assets,
            ],
        )
        .await?;
    Ok(())
}

/// Writes the outcomes on the trades; those that were taken back are reversed now.
async fn end_trades(
    transaction: &Transaction<'_>,
    decided: &[Decided<'_>],
    book: &Book,
) -> Result<(), Error> {
    let fill = |decided: &Decided<'_>, value: fn(&Fill) -> i128| {
        decided.outcome.as_ref().ok().map(value).map(decimal)
    };
    let column =
        |value: fn(&Fill) -> i128| decided.iter().map(|decided| fill(decided, value)).collect::<Vec<_>>();
    let settled = |decided: &Decided<'_>| decided.outcome.is_ok();
    let ids: Vec<Uuid> = decided.iter().map(|decided| decided.trade.id.0).collect();
    let states: Vec<&str> = decided
        .iter()
        .map(|decided| if settled(decided) { TradeState::Settled } else { TradeState::Rejected }.as_str())
        .collect();
    let reasons: Vec<Option<&str>> =
        decided.iter().map(|decided| decided.outcome.as_ref().err().map(|reason| reason.as_str())).collect();
    let stocks: Vec<Option<&str>> = decided
        .iter()
        .map(|decided| {
            book.stocks
                .get(&decided.trade.ticker)
                .filter(|_| settled(decided))
                .map(|stock| stock.currency.as_str())
        })
        .collect();
    let accounts: Vec<Option<&str>> = decided
        .iter()
        .map(|decided| {
            book.accounts
                .get(&decided.trade.client_id)
                .filter(|_| settled(decided))
                .map(|account| account.currency.as_str())
        })
        .collect();
    transaction
        .execute(
            "UPDATE trades t SET state = v.state, reason = v.reason, price = v.price, amount = v.amount,
                 currency = v.currency, account_amount = v.account_amount, account_currency = v.account_currency,
                 cost = v.cost, realised = v.realised, decided_at = clock_timestamp()
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::text[],
                         $7::numeric[], $8::text[], $9::numeric[], $10::numeric[])
                  AS v (id, state, reason, price, amount, currency, account_amount, account_currency, cost, realised)
             WHERE t.id = v.id",
            &[
                &ids,
                &states,
                &reasons,
                &column(|fill| fill.price),
                &column(|fill| fill.amount),
                &stocks,
                &column(|fill| fill.moved.account_amount),
                &accounts,
                &column(|fill| fill.moved.cost),
                &column(|fill| fill.moved.realised),
            ],
        )
        .await?;
    let reversed: Vec<Uuid> = decided
        .iter()
        .filter(|decided| settled(decided))
        .filter_map(|decided| Some(decided.trade.reverses.as_ref()?.id.0))
        .collect();
    if !reversed.is_empty() {
        transaction.execute("UPDATE trades SET state = 'reversed' WHERE id = ANY ($1)", &[&reversed]).await?;
    }
    Ok(())
}
