//! Transactions as in life: a few clients and merchants are busy, most amounts are small and a few
//! large, one client in five hundred is a whale, and time has its weekdays and hours.
//!
//! Times carry their zone (`Z`): a file means the same wherever it is loaded, whatever the clocks do there.

use super::{
    TransactionForm,
    blocks::RowSource,
    draws::{Draws, pick},
    shapes::{LogNormal, Weighted, skewed},
    text::{self, cents, client_id, number, padded},
    when::{Calendar, Drawn},
};

pub(super) const E_HEADER: &str = "transaction_id,user_id,product_id,timestamp,transaction_amount";
pub(super) const WIDE_HEADER: &str = "transaction_id,client_id,kind,occurred_at,ticker,stock_name,shares,price,amount,\
    currency,status,channel,merchant_id";
const A_HEADER: &str = "transaction_id,client_id,transaction_type,transaction_date,stock_ticker,stock_name,shares,price,\
    amount,currency,transaction_channel";

/// Clients that the transactions of service A's form are of, and those of a night: the first of the
/// generated clients.
pub const TRADING_CLIENTS: u32 = 500;
const USERS: u32 = 1_000;
const CLIENTS: u32 = 50_000;
const PRODUCTS: u64 = 500;
const MERCHANTS: u64 = 200;

/// One client in so many is a whale …
const WHALE_EVERY: u32 = 500;
/// … this one of them …
const WHALE: u32 = 7;
/// … and does as others do, times this.
const WHALE_FACTOR: u64 = 64;

/// Of a working day, and of a day of the weekend.
const KINDS: [[(&str, u32); 4]; 2] = [
    [("payment", 58), ("buy", 22), ("sell", 18), ("refund", 2)],
    [("payment", 94), ("buy", 2), ("sell", 1), ("refund", 3)],
];
const SIDES: [(&str, u32); 2] = [("buy", 55), ("sell", 45)];
const CURRENCIES: [(&str, u32); 3] = [("USD", 70), ("EUR", 20), ("GBP", 10)];
const STATUSES: [(&str, u32); 3] = [("success", 95), ("pending", 3), ("failed", 2)];
const CHANNELS: [(&str, u32); 3] = [("online", 70), ("branch", 20), ("ATM", 10)];

/// Ticker, name, and the price in cents around which it trades.
pub(super) const STOCKS: [(&str, &str, u32); 6] = [
    ("AAPL", "Apple Inc.", 19_000),
    ("TSLA", "Tesla Inc.", 24_000),
    ("AMZN", "Amazon.com Inc.", 18_000),
    ("GOOGL", "Alphabet Inc.", 16_000),
    ("MSFT", "Microsoft Corp.", 41_000),
    ("NVDA", "NVIDIA Corp.", 12_000),
];

/// Payments in cents: 35.00 in the middle, two thirds between 12 and 99, one in a million above 4,000.
const PAYMENT: LogNormal = LogNormal::new(11_773, 1_500);
/// Shares of a trade: 12 in the middle.
const SHARES: LogNormal = LogNormal::new(3_585, 1_600);

/// Keeps the streams apart from those of other profiles and files.
const STREAM: u64 = 10;
/// Odd, so that the numbers of rows stay apart from each other.
const SCATTER: u32 = 2_654_435_769;

/// Whether a client does all at a large scale.
pub fn is_whale(client: u32) -> bool {
    client % WHALE_EVERY == WHALE
}

/// What a row is called.
enum Ids {
    /// At random, as the form has them.
    Random,
    /// Of service A's form: eight digits, from here on.
    Scattered(u32),
    /// By its number: `syn-20261126-000001`.
    Numbered(String),
}

/// The transactions of a form.
pub(super) struct Transactions {
    draws: Draws,
    form: TransactionForm,
    ids: Ids,
    clients: u32,
    calendar: Calendar,
    /// Merchants, or products.
    partners: Weighted,
}

impl Transactions {
    pub(super) fn new(seed: u64, form: TransactionForm, calendar: Calendar) -> Self {
        let mut draws = Draws::new(seed, STREAM + form as u64);
        let (ids, clients, partners) = match form {
            TransactionForm::E => (Ids::Random, USERS, PRODUCTS),
            TransactionForm::Wide => (Ids::Random, CLIENTS, MERCHANTS),
            TransactionForm::A => (Ids::Scattered(draws.bits() as u32), TRADING_CLIENTS, 1),
        };
        Self { draws, form, ids, clients, calendar, partners: Weighted::by_rank(partners) }
    }

    /// The transactions of one day, of fewer clients, whose ids are `prefix` and their number.
    pub(super) fn numbered(seed: u64, form: TransactionForm, calendar: Calendar, prefix: String) -> Self {
        let all = Self::new(seed, form, calendar);
        let clients = if form == TransactionForm::E { USERS } else { TRADING_CLIENTS };
        Self { ids: Ids::Numbered(prefix), clients, ..all }
    }

    fn write_id(&mut self, out: &mut Vec<u8>, row: u64) {
        match &self.ids {
            Ids::Random => self.draws.uuid(out),
            Ids::Scattered(first) => {
                let id = first.wrapping_add((row as u32).wrapping_mul(SCATTER));
                let digit = |at: u32| b"0123456789abcdef"[(id >> (28 - 4 * at)) as usize & 15];
                out.extend_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7].map(digit));
            }
            Ids::Numbered(prefix) => {
                out.extend_from_slice(prefix.as_bytes());
                padded(out, row, 6);
            }
        }
    }
}

/// What every row draws.
struct Row {
    client: u32,
    day: Drawn,
    /// For the time of the day.
    hour: u32,
    within: u32,
    /// For the amount.
    size: u64,
    between: u16,
    /// For words, 16 bits each.
    words: [u16; 4],
    /// For whom or what it is with.
    with: u64,
}

fn halves(bits: u64) -> (u32, u32) {
    ((bits >> 32) as u32, bits as u32)
}

fn quarters(bits: u64) -> [u16; 4] {
    [(bits >> 48) as u16, (bits >> 32) as u16, (bits >> 16) as u16, bits as u16]
}

impl Row {
    fn draw(from: &mut Transactions) -> Self {
        let draws = &mut from.draws;
        let (client, day) = halves(draws.bits());
        let (hour, within) = halves(draws.bits());
        let (size, words, with) = (draws.bits(), quarters(draws.bits()), draws.bits());
        Self {
            client: skewed(client, from.clients) + 1,
            day: from.calendar.day(day),
            hour,
            within,
            size,
            between: with as u16,
            words,
            with,
        }
    }

    /// What others would do once, a whale does so often.
    fn scale(&self) -> u64 {
        if is_whale(self.client) { WHALE_FACTOR } else { 1 }
    }

    fn payment_cents(&self) -> u64 {
        PAYMENT.draw(self.size, self.between) * self.scale()
    }

    /// Stock, shares, and the price in cents: within a sixth of what it trades around, mostly near.
    fn trade(&self) -> (&'static str, &'static str, u64, u64) {
        let [stock, one, two, _] = quarters(self.with);
        let (ticker, name, around) = STOCKS[(usize::from(stock) * STOCKS.len()) >> 16];
        let off = ((u64::from(one) + u64::from(two)) * u64::from(around / 6)) >> 16;
        let price = u64::from(around - around / 6) + off;
        (ticker, name, SHARES.draw(self.size, self.between) * self.scale(), price)
    }

    fn write_time(&self, out: &mut Vec<u8>, calendar: &Calendar, trade: bool) {
        let (day, micros) = calendar.time(self.day, trade, self.hour, self.within);
        text::instant(out, day, micros);
    }

    fn write_trade(&self, out: &mut Vec<u8>, sign: &str) {
        let (ticker, name, shares, price) = self.trade();
        text::text(out, &[ticker, ",", name, ","]);
        number(out, shares);
        out.push(b',');
        cents(out, price);
        text::text(out, &[",", sign]);
        cents(out, shares * price);
    }
}

impl RowSource for Transactions {
    fn header(&self) -> &'static str {
        match self.form {
            TransactionForm::E => E_HEADER,
            TransactionForm::Wide => WIDE_HEADER,
            TransactionForm::A => A_HEADER,
        }
    }

    fn write_row(&mut self, out: &mut Vec<u8>, row: u64) {
        self.write_id(out, row);
        let drawn = Row::draw(self);
        out.push(b',');
        match self.form {
            TransactionForm::E => self.narrow(out, &drawn),
            TransactionForm::Wide => self.wide(out, &drawn),
            TransactionForm::A => self.trade(out, &drawn),
        }
    }
}

impl Transactions {
    /// A merchant or product, from 1.
    fn partner(&self, row: &Row) -> u64 {
        self.partners.draw(halves(row.with).0) as u64 + 1
    }

    fn narrow(&self, out: &mut Vec<u8>, row: &Row) {
        number(out, row.client.into());
        out.push(b',');
        number(out, self.partner(row));
        out.push(b',');
        row.write_time(out, &self.calendar, false);
        out.push(b',');
        cents(out, row.payment_cents());
    }

    fn wide(&self, out: &mut Vec<u8>, row: &Row) {
        let [kind, currency, status, channel] = row.words;
        let kind = pick(&KINDS[usize::from(row.day.weekend)], kind);
        let trade = matches!(kind, "buy" | "sell");
        client_id(out, row.client.into());
        text::text(out, &[",", kind, ","]);
        row.write_time(out, &self.calendar, trade);
        out.push(b',');
        if trade {
            row.write_trade(out, "");
        } else {
            out.extend_from_slice(b",,,,");
            cents(out, row.payment_cents());
        }
        let (currency, status) = (pick(&CURRENCIES, currency), pick(&STATUSES, status));
        text::text(out, &[",", currency, ",", status, ",", pick(&CHANNELS, channel), ","]);
        if !trade {
            out.push(b'M');
            padded(out, self.partner(row), 3);
        }
    }

    fn trade(&self, out: &mut Vec<u8>, row: &Row) {
        let [side, currency, channel, _] = row.words;
        let side = pick(&SIDES, side);
        client_id(out, row.client.into());
        text::text(out, &[",", side, ","]);
        self.calendar.write_day(out, row.day);
        out.push(b',');
        row.write_trade(out, if side == "sell" { "-" } else { "" });
        text::text(out, &[",", pick(&CURRENCIES, currency), ",", pick(&CHANNELS, channel)]);
    }
}
