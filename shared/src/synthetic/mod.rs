//! Seeded data: the same seed gives the same bytes, on every machine and in every version (test:
//! `a_seed_gives_the_same_bytes`). Rows are written as they are made, so that a file of any size needs
//! no memory; none of it depends on the wall clock.

mod clients;
mod draws;
mod trades;
mod transactions;

pub use clients::write_clients;
pub use trades::{TRADING_CLIENTS, write_trades, write_trades_workbook};
pub use transactions::{write_transactions, write_transactions_until};

use chrono::NaiveDate;
use std::io::{self, Write};

text_enum! {
    /// Which columns a file of transactions has.
    TransactionForm {
        /// Five: `transaction_id,user_id,product_id,timestamp,transaction_amount`. 1,000 users, 500
        /// products, 5.00 to 500.00 each.
        E = "e",
        /// Thirteen: payments to 200 merchants, buys and sells, of 50,000 clients.
        Wide = "wide",
    }
}

/// The day before which everything in a file happened, unless another is asked for.
pub const DEFAULT_END: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a day of the calendar");

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 16;

/// Rows on their way out.
struct Rows<'a, W: Write> {
    out: &'a mut W,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Rows<'a, W> {
    fn new(out: &'a mut W, header: &str) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + 1024);
        buffer.extend_from_slice(header.as_bytes());
        buffer.push(b'\n');
        Self { out, buffer }
    }

    fn end_row(&mut self) -> io::Result<()> {
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER_BYTES {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn transactions(rows: u64, seed: u64, form: TransactionForm) -> String {
        let mut bytes = Vec::new();
        write_transactions(&mut bytes, rows, seed, form).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn clients(rows: u64, seed: u64) -> String {
        let mut bytes = Vec::new();
        write_clients(&mut bytes, rows, seed).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn digest(text: &str) -> String {
        hex::encode(&Sha256::digest(text.as_bytes())[..8])
    }

    #[test]
    fn a_seed_gives_the_same_bytes() {
        assert_eq!(digest(&transactions(1000, 1, TransactionForm::E)), "cdd3e855cda34c44");
        assert_eq!(digest(&transactions(1000, 1, TransactionForm::Wide)), "bbcbf3f2eefe24cb");
        assert_eq!(digest(&clients(1000, 1)), "1d0d01c6e3447334");
        assert_ne!(transactions(10, 1, TransactionForm::E), transactions(10, 2, TransactionForm::E));
    }

    #[test]
    fn a_longer_file_begins_with_the_shorter_one() {
        assert!(transactions(50, 7, TransactionForm::Wide).starts_with(&transactions(
            20,
            7,
            TransactionForm::Wide
        )));
        assert!(clients(50, 7).starts_with(&clients(20, 7)));
    }

    #[test]
    fn rows_have_as_many_fields_as_their_header() {
        for text in [
            transactions(2000, 3, TransactionForm::E),
            transactions(2000, 3, TransactionForm::Wide),
            clients(2000, 3),
        ] {
            // The reader refuses records of unequal lengths.
            let records: Result<Vec<_>, _> =
                csv::Reader::from_reader(text.as_bytes()).into_records().collect();
            assert_eq!(records.unwrap().len(), 2000);
        }
    }

    #[test]
    fn amounts_of_trades_are_shares_times_price() {
        let text = transactions(2000, 4, TransactionForm::Wide);
        let mut trades = 0;
        for record in csv::Reader::from_reader(text.as_bytes()).into_records() {
            let record = record.unwrap();
            let decimal = |column: usize| record[column].parse::<rust_decimal::Decimal>();
            if let (Ok(shares), Ok(price)) = (decimal(6), decimal(7)) {
                assert_eq!(shares * price, decimal(8).unwrap());
                trades += 1;
            }
        }
        assert!(trades > 500);
    }

    #[test]
    fn e_mails_are_unique_and_addresses_hold_newlines() {
        let text = clients(5000, 5);
        let mut emails = std::collections::HashSet::new();
        for record in csv::Reader::from_reader(text.as_bytes()).into_records() {
            let record = record.unwrap();
            assert!(emails.insert(record[2].to_owned()));
            assert!(record[9].contains('\n'));
        }
    }
}
