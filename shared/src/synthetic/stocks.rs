//! Stocks with the prices of a day: the six that transactions trade in, then made-up ones.

use super::{
    blocks::RowSource,
    draws::Draws,
    shapes::LogNormal,
    text::{cents, number, text},
    transactions::STOCKS,
};

const HEADER: &str = "ticker,name,currency,open_price,close_price,high,low,volume";
/// Keeps the stream apart from those of the other files.
const STREAM: u64 = 300;

/// Price in cents: 45.00 in the middle.
const PRICE: LogNormal = LogNormal::new(12_136, 1_400);
/// Shares that are there: a million in the middle.
const VOLUME: LogNormal = LogNormal::new(19_932, 1_800);

const CURRENCIES: [(&str, u32); 3] = [("USD", 70), ("EUR", 20), ("GBP", 10)];
const FIRST: [&str; 16] = [
    "Alder", "Beacon", "Cobalt", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Indigo", "Juniper",
    "Keystone", "Lumen", "Meridian", "Northern", "Orchard", "Pioneer",
];
const SECOND: [&str; 16] = [
    "Airlines",
    "Analytics",
    "Bank",
    "Biotech",
    "Energy",
    "Foods",
    "Freight",
    "Insurance",
    "Materials",
    "Media",
    "Motors",
    "Networks",
    "Optics",
    "Robotics",
    "Shipping",
    "Software",
];
const LAST: [&str; 4] = ["Inc.", "Corp.", "Group", "Holdings"];

/// The stocks of a seed.
pub(super) struct Stocks(Draws);

impl Stocks {
    pub(super) fn new(seed: u64) -> Self {
        Self(Draws::new(seed, STREAM))
    }
}

impl RowSource for Stocks {
    fn header(&self) -> &'static str {
        HEADER
    }

    fn write_row(&mut self, out: &mut Vec<u8>, row: u64) {
        let draws = &mut self.0;
        let names = [draws.one_of(&FIRST), " ", draws.one_of(&SECOND), " ", draws.one_of(&LAST)];
        let drawn = PRICE.draw(draws.bits(), draws.below(1 << 16) as u16).max(10);
        let currency = draws.weighted(&CURRENCIES);
        let open = match STOCKS.get(row as usize - 1) {
            Some((ticker, name, around)) => {
                text(out, &[ticker, ",", name, ",USD,"]);
                u64::from(*around)
            }
            None => {
                ticker(out, row - 1 - STOCKS.len() as u64);
                out.push(b',');
                text(out, &names);
                text(out, &[",", currency, ","]);
                drawn
            }
        };
        // Within a twentieth of the price that the day began with, up or down.
        let some = |draws: &mut Draws| draws.below_u64(open / 20 + 1);
        let close = open - open / 40 + some(draws);
        let high = open.max(close) + some(draws) / 2;
        let low = open.min(close) - some(draws) / 2;
        for price in [open, close, high, low] {
            cents(out, price);
            out.push(b',');
        }
        number(out, VOLUME.draw(draws.bits(), draws.below(1 << 16) as u16));
    }
}

/// A ticker that no other stock has: X, and at least three letters; those of the six begin with others.
fn ticker(out: &mut Vec<u8>, mut number: u64) {
    const LETTERS: u64 = 26;
    /// No multiple of 2 or 13: each number of letters is met once.
    const SCATTER: u64 = 7_654_321;
    let (mut width, mut there_are) = (3, LETTERS.pow(3));
    while number >= there_are {
        number -= there_are;
        width += 1;
        there_are *= LETTERS;
    }
    let mut scattered = number * SCATTER % there_are;
    let mut letters = [b'X'; 15];
    for letter in letters[1..=width].iter_mut().rev() {
        *letter = b'A' + (scattered % LETTERS) as u8;
        scattered /= LETTERS;
    }
    out.extend_from_slice(&letters[..=width]);
}
