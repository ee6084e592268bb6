//! Clients as CSV, in the form of the service that this system replaces: addresses hold newlines.

use super::{
    Rows,
    draws::{Draws, cents, number, padded},
    transactions::client_id,
};
use std::io::{self, Write};

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

/// Writes `rows` clients, `c0000001` first: the clients of the form `wide` are the first 50,000.
pub fn write_clients(out: &mut impl Write, rows: u64, seed: u64) -> io::Result<()> {
    let mut draws = Draws::new(seed, STREAM);
    let mut out = Rows::new(out, HEADER);
    for client in 1..=rows {
        row(&mut out.buffer, &mut draws, client);
        out.end_row()?;
    }
    out.finish()
}

fn row(row: &mut Vec<u8>, draws: &mut Draws, client: u64) {
    let (first, last) = (draws.one_of(&FIRST_NAMES), draws.one_of(&LAST_NAMES));
    client_id(row, client);
    text(row, &[",", first, " ", last, ","]);
    text(row, &[&first.to_ascii_lowercase(), ".", &last.to_ascii_lowercase()]);
    // The number makes it unique.
    number(row, client);
    text(row, &["@example.org,"]);
    date(row, draws, 1945, 2006);
    text(row, &[",", draws.one_of(&COUNTRIES), ","]);
    text(row, &[draws.weighted(&[("standard", 70), ("premium", 20), ("corporate", 10)]), ","]);
    cents(row, u64::from(draws.between(100_000, 50_000_000)));
    row.push(b',');
    date(row, draws, 2007, 2024);
    text(row, &[",+1-"]);
    for (digits, end) in [(3, "-"), (3, "-"), (4, ",")] {
        padded(row, u64::from(draws.below(10u32.pow(digits))), digits);
        text(row, &[end]);
    }
    row.push(b'"');
    number(row, u64::from(draws.between(1, 9999)));
    text(row, &[" ", draws.one_of(&STREETS), "\n", draws.one_of(&TOWNS), ", ", draws.one_of(&STATES), " "]);
    padded(row, u64::from(draws.below(100_000)), 5);
    text(row, &["\",", draws.one_of(&["low", "medium", "high"]), ",", draws.one_of(&["USD", "EUR", "GBP"])]);
}

fn text(row: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        row.extend_from_slice(part.as_bytes());
    }
}

/// A day of the years `from..=to`; the 29th to the 31st are left out.
fn date(row: &mut Vec<u8>, draws: &mut Draws, from: u32, to: u32) {
    number(row, u64::from(draws.between(from, to)));
    row.push(b'-');
    padded(row, u64::from(draws.between(1, 12)), 2);
    row.push(b'-');
    padded(row, u64::from(draws.between(1, 28)), 2);
}
