//! What a batch of trades finds under its locks, and what each of them does to it. Pure: the trades are decided
//! one after the other, each upon what those before it have left, and nothing is written here. Amounts are
//! units ([`crate::money`]).

use super::model::{Reason, Side};
use crate::{fx::RateTable, money::MAX_UNITS};
use std::collections::{BTreeMap, BTreeSet};

/// A client's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its currency.
    pub currency: String,
    /// Cash.
    pub position: i128,
    /// An operator suspended it.
    pub suspended: bool,
}

/// A stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The company.
    pub name: Option<String>,
    /// Of its price.
    pub currency: String,
    /// Of one share.
    pub price: i128,
    /// Shares that can be bought.
    pub volume: i64,
}

/// What a client holds of a stock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Shares.
    pub shares: i64,
    /// What they cost.
    pub cost: i128,
    /// Profit or loss of what was sold.
    pub realised: i128,
}

/// A trade to decide.
#[derive(Debug, Clone)]
pub struct Order<'o> {
    /// Whose.
    pub client_id: &'o str,
    /// Of which stock.
    pub ticker: &'o str,
    /// Which way.
    pub side: Side,
    /// Shares.
    pub volume: i64,
    /// What the trade moved that this one takes back.
    pub reverses: Option<Moved>,
}

/// What a settled trade moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// In the account.
    pub account_amount: i128,
    /// Of the shares.
    pub cost: i128,
    /// Profit or loss.
    pub realised: i128,
}

/// A trade that is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Of one share, in the stock's currency.
    pub price: i128,
    /// Volume times price.
    pub amount: i128,
    /// What it moved.
    pub moved: Moved,
}

/// Accounts, stocks and holdings. A client and ticker without a holding have an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// By client.
    pub accounts: BTreeMap<String, Account>,
    /// By ticker.
    pub stocks: BTreeMap<String, Listing>,
    /// By client and ticker.
    pub holdings: BTreeMap<(String, String), Position>,
    /// Whose account, which stock and which holding has changed.
    pub changed: BTreeSet<(String, String)>,
}

/// Volume times price, if an amount can be that large.
pub fn amount(price: i128, volume: i64) -> Option<i128> {
    price.checked_mul(volume.into()).filter(|amount| *amount <= MAX_UNITS)
}

impl Book {
    /// Decides a trade at a time (microseconds since 1970), and moves what it moves; a rejected one moves
    /// nothing. A reversal moves back what the trade had moved, also for a client that is suspended.
    pub fn decide(&mut self, order: &Order<'_>, rates: &RateTable, at_us: i64) -> Result<Fill, Reason> {
        let stock = self.stocks.get_mut(order.ticker).ok_or(Reason::UnknownStock)?;
        let account = self.accounts.get_mut(order.client_id).ok_or(Reason::ClientSuspended)?;
        if order.reverses.is_none() && (account.suspended || account.position < 0) {
            return Err(Reason::ClientSuspended);
        }
        let amount = amount(stock.price, order.volume).ok_or(Reason::AmountTooLarge)?;
        let account_amount = match order.reverses {
            Some(moved) => moved.account_amount,
            None => converted(amount, stock, account, rates, at_us)?,
        };
        let key = (order.client_id.to_owned(), order.ticker.to_owned());
        let holding = self.holdings.entry(key.clone()).or_default();
        let moved = match order.side {
            Side::Buy => {
                if stock.volume < order.volume {
                    return Err(Reason::InsufficientVolume);
                }
                if account.position < account_amount {
                    return Err(Reason::InsufficientFunds);
                }
                // What a sell took out comes back as it was.
                let (cost, realised) =
                    order.reverses.map_or((account_amount, 0), |sold| (sold.cost, -sold.realised));
                account.position -= account_amount;
                stock.volume -= order.volume;
                holding.shares += order.volume;
                holding.cost += cost;
                holding.realised += realised;
                Moved { account_amount, cost, realised }
            }
            Side::Sell => {
                if holding.shares < order.volume {
                    return Err(Reason::InsufficientHoldings);
                }
                let cost = cost_of(holding, order);
                account.position += account_amount;
                stock.volume += order.volume;
                holding.shares -= order.volume;
                holding.cost -= cost;
                holding.realised += account_amount - cost;
                Moved { account_amount, cost, realised: account_amount - cost }
            }
        };
        self.changed.insert(key);
        Ok(Fill { price: stock.price, amount, moved })
    }
}

/// An amount of a stock's currency in the account's.
fn converted(
    amount: i128,
    stock: &Listing,
    account: &Account,
    rates: &RateTable,
    at_us: i64,
) -> Result<i128, Reason> {
    if stock.currency == account.currency {
        return Ok(amount);
    }
    let code = |text: &str| <[u8; 3]>::try_from(text.as_bytes()).map_err(|_| Reason::NoExchangeRate);
    let (base, quote) = (code(&stock.currency)?, code(&account.currency)?);
    rates.rate(base, quote, at_us).ok_or(Reason::NoExchangeRate)?;
    match rates.convert(amount, base, quote, at_us) {
        // Shares are not to be had for nothing.
        Some(0) if amount > 0 => Err(Reason::AmountTooSmall),
        converted => converted.ok_or(Reason::AmountTooLarge),
    }
}

/// What the shares cost that go: their part of the cost of all, rounded half up; all of it with the last of
/// them. With a buy that is reversed goes what it brought, as far as that is still there.
fn cost_of(holding: &Position, order: &Order<'_>) -> i128 {
    if holding.shares == order.volume {
        return holding.cost;
    }
    match order.reverses {
        Some(bought) => bought.cost.min(holding.cost),
        None => {
            let (volume, shares) = (i128::from(order.volume), i128::from(holding.shares));
            (holding.cost * volume * 2 + shares) / (shares * 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};

    fn book(position: i128, volume: i64) -> Book {
        let account = Account { currency: "USD".to_owned(), position, suspended: false };
        let stock = Listing { name: None, currency: "USD".to_owned(), price: 1_000_000, volume };
        Book {
            accounts: BTreeMap::from([("ann".to_owned(), account)]),
            stocks: BTreeMap::from([("AAA".to_owned(), stock)]),
            ..Book::default()
        }
    }

    fn order(side: Side, volume: i64) -> Order<'static> {
        Order { client_id: "ann", ticker: "AAA", side, volume, reverses: None }
    }

    #[test]
    fn a_trade_is_settled_or_rejected_for_a_reason_and_then_moves_nothing() {
        let rates = RateTable::default();
        let mut book = book(10_000_000, 20);
        assert_eq!(book.decide(&order(Side::Sell, 1), &rates, 0), Err(Reason::InsufficientHoldings));
        assert_eq!(book.decide(&order(Side::Buy, 21), &rates, 0), Err(Reason::InsufficientVolume));
        assert_eq!(book.decide(&order(Side::Buy, 11), &rates, 0), Err(Reason::InsufficientFunds));
        assert!(book.changed.is_empty());
        let fill = book.decide(&order(Side::Buy, 10), &rates, 0).unwrap();
        assert_eq!((fill.amount, fill.moved.cost, fill.moved.realised), (10_000_000, 10_000_000, 0));
        assert_eq!((book.accounts["ann"].position, book.stocks["AAA"].volume), (0, 10));
        book.accounts.get_mut("ann").unwrap().suspended = true;
        assert_eq!(book.decide(&order(Side::Sell, 1), &rates, 0), Err(Reason::ClientSuspended));
        let other = Order { ticker: "BBB", ..order(Side::Buy, 1) };
        assert_eq!(book.decide(&other, &rates, 0), Err(Reason::UnknownStock));
        book.accounts.get_mut("ann").unwrap().suspended = false;
        book.stocks.get_mut("AAA").unwrap().currency = "JPY".to_owned();
        assert_eq!(book.decide(&order(Side::Sell, 1), &rates, 0), Err(Reason::NoExchangeRate));
        book.stocks.get_mut("AAA").unwrap().price = MAX_UNITS;
        assert_eq!(book.decide(&order(Side::Sell, 2), &rates, 0), Err(Reason::AmountTooLarge));
    }

    /// Each trade is taken back in the reverse order: everything is as it was at every step.
    #[test]
    fn reversals_lead_back() {
        let rates = RateTable::default();
        for seed in 0..300 {
            let mut random = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
            let mut book = book(50_000_000, 30);
            let mut done = Vec::new();
            for _ in 0..random.random_range(1..40) {
                // As if the rate of exchange moved.
                book.stocks.get_mut("AAA").unwrap().price = random.random_range(1..3_000_000);
                let before = book.clone();
                let side = if random.random() { Side::Buy } else { Side::Sell };
                let order = order(side, random.random_range(1..6));
                match book.decide(&order, &rates, 0) {
                    Ok(fill) => done.push((before, order, fill)),
                    Err(_) => assert_eq!(&book.accounts, &before.accounts),
                }
                let holding = book.holdings.values().next().copied().unwrap_or_default();
                assert!(holding.shares >= 0 && holding.cost >= 0);
                assert!(holding.shares > 0 || holding.cost == 0);
                assert!(book.accounts["ann"].position >= 0);
                assert_eq!(book.stocks["AAA"].volume + holding.shares, 30);
            }
            for (before, order, fill) in done.into_iter().rev() {
                book.stocks.get_mut("AAA").unwrap().price = fill.price;
                let back = Order { side: order.side.opposite(), reverses: Some(fill.moved), ..order };
                assert!(book.decide(&back, &rates, 0).is_ok());
                assert_eq!(book.accounts["ann"].position, before.accounts["ann"].position);
                let was = before.holdings.values().next().copied().unwrap_or_default();
                assert_eq!(*book.holdings.values().next().unwrap(), was);
            }
        }
    }
}
