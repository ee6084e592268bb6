//! Clients, in the form of service A: addresses hold newlines. Most balances are moderate, a few large;
//! whales are rich and seldom private.

use super::{
    blocks::RowSource,
    draws::Draws,
    shapes::LogNormal,
    text::{cents, client_id, number, padded, text},
    transactions::is_whale,
};

const HEADER: &str = "client_id,name,email,date_of_birth,country,account_type,account_balance,account_open_date,\
    phone_number,address,risk_tolerance,account_currency";
/// Keeps the stream apart from those of the transactions.
const STREAM: u64 = 100;

const FIRST_NAMES: [&str; 16] = [
    "Amina", "Bruno", "Chiara", "David", "Elif", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kemi", "Lena",
    "Mateo", "Nadia", "Omar", "Priya",
];
const LAST_NAMES: [&str; 16] = [
    "Abbott", "Becker", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ivanov", "Jensen",
    "Kowalski", "Lopez", "Moreau", "Novak", "Okafor", "Petrov",
];
const COUNTRIES: [&str; 10] = [
    "Austria",
    "Brazil",
    "Canada",
    "Denmark",
    "Egypt",
    "France",
    "Ghana",
    "India",
    "Japan",
    "United Kingdom",
];
const STREETS: [&str; 8] = [
    "Birch Avenue",
    "Cedar Lane",
    "Dock Road",
    "Elm Street",
    "Ferry Way",
    "Grove Court",
    "Hill Drive",
    "Mill Path",
];
const TOWNS: [&str; 8] =
    ["Ashford", "Bridgeton", "Clearwater", "Dunmore", "Eastport", "Fairview", "Glenwood", "Harborside"];
const STATES: [&str; 8] = ["CA", "FL", "IL", "MA", "NY", "OR", "TX", "WA"];

/// Of a hundred, from the first country to the last.
const COUNTRY_WEIGHTS: [u32; 10] = [6, 12, 9, 4, 5, 16, 3, 18, 9, 18];
const ACCOUNT_TYPES: [[(&str, u32); 3]; 2] = [
    [("standard", 74), ("premium", 19), ("corporate", 7)],
    [("standard", 0), ("premium", 30), ("corporate", 70)],
];
const RISKS: [(&str, u32); 3] = [("low", 35), ("medium", 45), ("high", 20)];
const CURRENCIES: [(&str, u32); 3] = [("USD", 60), ("EUR", 25), ("GBP", 15)];
/// Balance in cents: 4,000.00 in the middle.
const BALANCE: LogNormal = LogNormal::new(18_610, 1_800);

/// The clients of a seed, `c0000001` first.
pub(super) struct Clients {
    draws: Draws,
    countries: Vec<(&'static str, u32)>,
}

impl Clients {
    pub(super) fn new(seed: u64) -> Self {
        let countries = COUNTRIES.into_iter().zip(COUNTRY_WEIGHTS).collect();
        Self { draws: Draws::new(seed, STREAM), countries }
    }
}

impl RowSource for Clients {
    fn header(&self) -> &'static str {
        HEADER
    }

    fn write_row(&mut self, out: &mut Vec<u8>, client: u64) {
        let draws = &mut self.draws;
        let whale = is_whale(client as u32);
        let (first, last) = (draws.one_of(&FIRST_NAMES), draws.one_of(&LAST_NAMES));
        client_id(out, client);
        text(out, &[",", first, " ", last, ","]);
        text(out, &[&first.to_ascii_lowercase(), ".", &last.to_ascii_lowercase()]);
        // The number makes it unique.
        number(out, client);
        text(out, &["@example.org,"]);
        // Most are of middle age.
        let born = 1940 + draws.below(35) + draws.below(34);
        date(out, draws, born);
        text(out, &[",", draws.weighted(&self.countries), ","]);
        text(out, &[draws.weighted(&ACCOUNT_TYPES[usize::from(whale)]), ","]);
        let balance = BALANCE.draw(draws.bits(), draws.below(1 << 16) as u16);
        cents(out, if whale { balance * 64 } else { balance });
        out.push(b',');
        // More of late than long ago.
        let opened = 2007 + draws.below(18).max(draws.below(18));
        date(out, draws, opened);
        text(out, &[",+1-"]);
        for (digits, end) in [(3, "-"), (3, "-"), (4, ",")] {
            padded(out, u64::from(draws.below(10u32.pow(digits))), digits);
            text(out, &[end]);
        }
        out.push(b'"');
        number(out, u64::from(draws.between(1, 9999)));
        text(
            out,
            &[" ", draws.one_of(&STREETS), "\n", draws.one_of(&TOWNS), ", ", draws.one_of(&STATES), " "],
        );
        padded(out, u64::from(draws.below(100_000)), 5);
        text(out, &["\",", draws.weighted(&RISKS), ",", draws.weighted(&CURRENCIES)]);
    }
}

/// A day of a year; the 29th to the 31st are left out.
fn date(out: &mut Vec<u8>, draws: &mut Draws, year: u32) {
    number(out, u64::from(year));
    out.push(b'-');
    padded(out, u64::from(draws.between(1, 12)), 2);
    out.push(b'-');
    padded(out, u64::from(draws.between(1, 28)), 2);
}
