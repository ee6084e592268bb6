//! The bytes, their shape, and how their values are spread.

use super::*;
use chrono::{Datelike, NaiveDate, Timelike};
use csv::StringRecord;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};

fn request(what: DataKind, form: TransactionForm, num_rows: u64) -> DataRequest {
    DataRequest { what: Some(what), form: Some(form), num_rows, ..DataRequest::default() }
}

fn file(request: &DataRequest) -> (Vec<u8>, Tally) {
    let mut bytes = Vec::new();
    let tally = write(&Dataset::try_from(request).unwrap(), &mut bytes).unwrap();
    (bytes, tally)
}

fn transactions(form: TransactionForm, num_rows: u64) -> Vec<u8> {
    file(&request(DataKind::Transactions, form, num_rows)).0
}

fn uniform(rows: u64, seed: u64, form: TransactionForm) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_transactions(&mut bytes, rows, seed, form).unwrap();
    bytes
}

/// Everything that can be generated, once.
fn all(num_rows: u64) -> Vec<DataRequest> {
    let forms = TransactionForm::ALL.iter().map(|&form| request(DataKind::Transactions, form, num_rows));
    let others = [DataKind::Clients, DataKind::Stocks];
    forms.chain(others.map(|what| request(what, TransactionForm::E, num_rows))).collect()
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..8])
}

/// The reader refuses records of unequal lengths.
fn records(bytes: &[u8]) -> Vec<StringRecord> {
    csv::Reader::from_reader(bytes).into_records().collect::<Result<_, _>>().unwrap()
}

fn decimal(text: &str) -> rust_decimal::Decimal {
    text.parse().unwrap()
}

#[test]
fn a_seed_gives_the_same_bytes() {
    assert_eq!(digest(&uniform(1000, 1, TransactionForm::E)), "cdd3e855cda34c44");
    assert_eq!(digest(&uniform(1000, 1, TransactionForm::Wide)), "bbcbf3f2eefe24cb");
    let digests: Vec<String> = all(1000).iter().map(|request| digest(&file(request).0)).collect();
    assert_eq!(
        digests,
        ["8f2a52778f9b3744", "eac8ffc942c6c3ef", "7e12accddd48135a", "20adf3be7c3d5856", "48c3631e4fa100a3"]
    );
    let dirty =
        DataRequest { dirty: Some(5), ..request(DataKind::Transactions, TransactionForm::Wide, 1000) };
    assert_eq!(digest(&file(&dirty).0), "b59ca2927129115e");
    for one in all(10) {
        assert_ne!(file(&one).0, file(&DataRequest { seed: Some(2), ..one.clone() }).0, "{one:?}");
    }
}

#[test]
fn a_seed_gives_the_same_workbook_which_holds_the_same_rows() {
    for one in all(50) {
        let workbook = DataRequest { format: Some(DataFormat::Xlsx), ..one };
        let (bytes, tally) = file(&workbook);
        assert_eq!((&bytes[..2], tally.rows), (b"PK".as_slice(), 50));
        assert_eq!(bytes, file(&workbook).0);
    }
}

#[test]
fn a_longer_file_begins_with_the_shorter_one() {
    for one in all(20) {
        for dirty in [None, Some(30)] {
            let of = |num_rows| file(&DataRequest { num_rows, dirty, ..one.clone() }).0;
            assert!(of(5_000).starts_with(&of(20)), "{one:?}");
        }
    }
}

#[test]
fn rows_have_as_many_fields_as_their_header_and_ids_are_unique() {
    for one in all(2_000) {
        let records = records(&file(&one).0);
        assert_eq!(records.len(), 2000);
        let ids: HashSet<&str> = records.iter().map(|record| &record[0]).collect();
        assert_eq!(ids.len(), 2000, "{one:?}");
    }
    for form in [TransactionForm::E, TransactionForm::Wide] {
        assert_eq!(records(&uniform(2000, 3, form)).len(), 2000);
    }
}

#[test]
fn amounts_of_trades_are_shares_times_price() {
    for (bytes, sells_are_negative) in [
        (uniform(2000, 4, TransactionForm::Wide), false),
        (transactions(TransactionForm::Wide, 2000), false),
        (transactions(TransactionForm::A, 2000), true),
    ] {
        let mut trades = 0;
        for record in records(&bytes).iter().filter(|record| !record[6].is_empty()) {
            assert_eq!(decimal(&record[6]) * decimal(&record[7]), decimal(&record[8]).abs());
            assert_eq!(sells_are_negative && &record[2] == "sell", record[8].starts_with('-'));
            trades += 1;
        }
        assert!(trades > 400, "{trades}");
    }
}

#[test]
fn e_mails_are_unique_and_addresses_hold_newlines() {
    let mut emails = HashSet::new();
    for record in records(&file(&request(DataKind::Clients, TransactionForm::E, 5000)).0) {
        assert!(emails.insert(record[2].to_owned()));
        assert!(record[9].contains('\n'));
    }
}

#[test]
fn stocks_have_prices_between_their_low_and_high() {
    for record in records(&file(&request(DataKind::Stocks, TransactionForm::E, 50_000)).0) {
        let [open, close, high, low] = [3, 4, 5, 6].map(|column| decimal(&record[column]));
        assert!(low <= open.min(close) && open.max(close) <= high && low > decimal("0"), "{record:?}");
        assert!(record[0].len() <= 15 && record[7].parse::<i32>().is_ok(), "{record:?}");
    }
}

/// How the busiest hundredth of those in a column compares with their mean, as a part of all rows in percent.
fn top_percent(records: &[StringRecord], column: usize) -> usize {
    let mut counts = HashMap::<&str, usize>::new();
    for record in records.iter().filter(|record| !record[column].is_empty()) {
        *counts.entry(&record[column]).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    let all: usize = counts.iter().sum();
    counts.iter().take(counts.len().div_ceil(100)).sum::<usize>() * 100 / all
}

#[test]
fn few_clients_and_merchants_have_many_rows() {
    let wide = records(&transactions(TransactionForm::Wide, 100_000));
    // Of merchants the busiest two of 200; of clients 500 of 50,000.
    assert!((22..=28).contains(&top_percent(&wide, 12)), "{}", top_percent(&wide, 12));
    assert!((9..=16).contains(&top_percent(&wide, 1)), "{}", top_percent(&wide, 1));
    let narrow = records(&transactions(TransactionForm::E, 100_000));
    assert!((30..=38).contains(&top_percent(&narrow, 2)), "{}", top_percent(&narrow, 2));
    let even = records(&uniform(100_000, 1, TransactionForm::Wide));
    assert!(top_percent(&even, 12) <= 2);
}

#[test]
fn most_amounts_are_small_a_few_are_large_and_whales_move_the_most() {
    let narrow = records(&transactions(TransactionForm::E, 100_000));
    let mut amounts: Vec<_> = narrow.iter().map(|record| decimal(&record[4])).collect();
    amounts.sort_unstable();
    let total: rust_decimal::Decimal = amounts.iter().sum();
    assert!((decimal("33")..decimal("37")).contains(&amounts[50_000]), "{}", amounts[50_000]);
    // The largest hundredth of the amounts is more than a sixth of the money.
    let largest: rust_decimal::Decimal = amounts[99_000..].iter().sum();
    assert!(largest * decimal("6") > total, "{largest} of {total}");
    let whales: Vec<&StringRecord> =
        narrow.iter().filter(|record| is_whale(record[1].parse().unwrap())).collect();
    let moved: rust_decimal::Decimal = whales.iter().map(|record| decimal(&record[4])).sum();
    let names: HashSet<&str> = whales.iter().map(|record| &record[1]).collect();
    assert_eq!(names, HashSet::from(["7", "507"]));
    assert!(moved * decimal("5") > total && whales.len() < 3_000, "{moved} of {total} by {}", whales.len());
}

#[test]
fn weekdays_and_hours_differ_and_trades_keep_the_hours_of_exchanges() {
    let wide = records(&transactions(TransactionForm::Wide, 200_000));
    let (mut payments, mut hours, mut trades) = ([0; 7], [0; 24], BTreeMap::<(bool, u32), u32>::new());
    for record in &wide {
        let at: chrono::DateTime<chrono::Utc> = record[3].parse().unwrap();
        let weekday = at.weekday().num_days_from_monday() as usize;
        if matches!(&record[2], "buy" | "sell") {
            *trades.entry((weekday >= 5, at.hour())).or_default() += 1;
        } else {
            payments[weekday] += 1;
            hours[at.hour() as usize] += 1;
        }
    }
    // Saturday is the strongest day, Monday the weakest of those with payments; people sleep at three.
    assert_eq!(payments.iter().max(), Some(&payments[5]), "{payments:?}");
    assert!(payments[5] > 2 * payments[0], "{payments:?}");
    assert!(hours[18] > 30 * hours[3] && hours[3] > 0, "{hours:?}");
    let of =
        |weekend: bool| -> u32 { trades.iter().filter(|(key, _)| key.0 == weekend).map(|(_, n)| n).sum() };
    assert!(of(false) > 20 * of(true), "{trades:?}");
    let open: u32 = trades.iter().filter(|(key, _)| (9..18).contains(&key.1)).map(|(_, n)| n).sum();
    assert!(open * 10 > (of(false) + of(true)) * 9, "{trades:?}");
}

#[test]
fn a_file_is_of_the_days_that_were_asked_for() {
    let end = NaiveDate::from_ymd_opt(2024, 3, 2).unwrap();
    for form in TransactionForm::ALL {
        let asked =
            DataRequest { end: Some(end), days: Some(3), ..request(DataKind::Transactions, *form, 1_000) };
        let days: HashSet<String> =
            records(&file(&asked).0).iter().map(|record| record[3][..10].to_owned()).collect();
        let expected = ["2024-02-28", "2024-02-29", "2024-03-01"].map(str::to_owned);
        assert_eq!(days, HashSet::from(expected), "{form}");
    }
}

#[test]
fn a_dirty_file_says_what_it_holds_and_its_other_rows_are_those_of_the_clean_one() {
    for one in all(10_000) {
        let clean = file(&one).0;
        let (dirty, tally) = file(&DataRequest { dirty: Some(1), ..one.clone() });
        assert!((30..=70).contains(&tally.repeated) && (30..=70).contains(&tally.malformed), "{tally:?}");
        let lines = |bytes: &[u8]| -> Vec<ByteRow> {
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
            reader.byte_records().map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect()).collect()
        };
        let known: HashSet<ByteRow> = lines(&clean).into_iter().collect();
        let mut seen = HashSet::new();
        let (mut repeated, mut malformed) = (0, 0);
        for row in lines(&dirty) {
            if !known.contains(&row) {
                malformed += 1;
            } else if !seen.insert(row) {
                repeated += 1;
            }
        }
        assert_eq!((repeated, malformed), (tally.repeated, tally.malformed), "{one:?}");
    }
}

type ByteRow = Vec<Vec<u8>>;
