//! What is to be generated, and what of that cannot be.

use crate::uploads::UploadKind;
use chrono::{Datelike, Days, NaiveDate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

text_enum! {
    /// What rows are of.
    DataKind {
        /// Account holders.
        Clients = "clients",
        /// Payments, buys and sells.
        Transactions = "transactions",
        /// Stocks with their prices.
        Stocks = "stocks",
    }
}

text_enum! {
    /// Which columns a file of transactions has.
    TransactionForm {
        /// Five, as service E's: `transaction_id,user_id,product_id,timestamp,transaction_amount`. 1,000 users,
        /// 500 products.
        E = "e",
        /// Thirteen: payments to 200 merchants, refunds, buys and sells, of 50,000 clients.
        Wide = "wide",
        /// Eleven, as service A's: buys and sells of 500 clients by the day, sells negative.
        A = "a",
    }
}

text_enum! {
    /// How values are spread.
    Profile {
        /// As in life: most amounts are small and a few large, some merchants and clients are busy, weekends
        /// differ.
        Realistic = "realistic",
        /// Every value as often as any other, times without a zone: what benchmarks measure with.
        Uniform = "uniform",
    }
}

text_enum! {
    /// What file rows are written to.
    DataFormat {
        /// Text with commas.
        Csv = "csv",
        /// A workbook of one sheet.
        Xlsx = "xlsx",
    }
}

impl DataFormat {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }
}

impl DataKind {
    /// What a file of it is loaded as.
    pub fn upload_kind(self) -> UploadKind {
        match self {
            Self::Clients => UploadKind::Clients,
            Self::Transactions => UploadKind::Transactions,
            Self::Stocks => UploadKind::Stocks,
        }
    }
}

/// The day before which everything in a file happened, unless another is asked for.
pub const DEFAULT_END: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a day of the calendar");
/// The days before it, unless others are asked for.
pub const DEFAULT_DAYS: u32 = 365;
/// Most rows of a file.
pub const MAX_ROWS: u64 = 100_000_000;
/// Most rows of a workbook: as many as a sheet has, less the header.
pub const MAX_WORKBOOK_ROWS: u64 = 1_048_575;
/// Most days of a file.
pub const MAX_DAYS: u32 = 3_650;
/// From so many days on a file may hold more months than an upload creates unasked.
const MANY_DAYS: u32 = 1_000;

/// Something that cannot be generated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Fault {
    /// What asks for it.
    pub field: &'static str,
    /// Why not, and what can be; a sentence.
    pub message: String,
}

impl Fault {
    pub(super) fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

/// What somebody asks for; whatever is absent is at its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DataRequest {
    /// clients, transactions (the default) or stocks.
    pub what: Option<DataKind>,
    /// How many rows, the header not counted: 1 to 100,000,000.
    pub num_rows: u64,
    /// The same seed gives the same bytes; 1 if absent.
    pub seed: Option<u64>,
    /// Columns of transactions: e (five, the default), wide (thirteen) or a (eleven).
    pub form: Option<TransactionForm>,
    /// Transactions are of the days before this one; 2026-01-01 if absent.
    pub end: Option<NaiveDate>,
    /// How many days, 1 to 3,650; 365 if absent.
    pub days: Option<u32>,
    /// Rows of a hundred that are damaged or repeated, 0 to 100; 0 if absent.
    pub dirty: Option<u8>,
    /// csv (the default) or xlsx.
    pub format: Option<DataFormat>,
    /// How values are spread: realistic (the default) or uniform.
    pub profile: Option<Profile>,
}

/// What is to be generated, checked: the same rows on every machine and in every version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    pub(super) what: DataKind,
    pub(super) rows: u64,
    pub(super) seed: u64,
    pub(super) form: TransactionForm,
    pub(super) end: NaiveDate,
    pub(super) days: u32,
    pub(super) dirty: u8,
    pub(super) format: DataFormat,
    pub(super) profile: Profile,
}

impl TryFrom<&DataRequest> for Dataset {
    type Error = Fault;

    fn try_from(asked: &DataRequest) -> Result<Self, Fault> {
        let data = Self {
            what: asked.what.unwrap_or(DataKind::Transactions),
            rows: asked.num_rows,
            seed: asked.seed.unwrap_or(1),
            form: asked.form.unwrap_or(TransactionForm::E),
            end: asked.end.unwrap_or(DEFAULT_END),
            days: asked.days.unwrap_or(DEFAULT_DAYS),
            dirty: asked.dirty.unwrap_or(0),
            format: asked.format.unwrap_or(DataFormat::Csv),
            profile: asked.profile.unwrap_or(Profile::Realistic),
        };
        data.check()?;
        Ok(data)
    }
}

impl Dataset {
    fn check(&self) -> Result<(), Fault> {
        check_rows(self.rows, self.format)?;
        if !(1..=MAX_DAYS).contains(&self.days) {
            return Err(Fault::new("days", "A file is of 1 to 3,650 days."));
        }
        let first = self.end.checked_sub_days(Days::new(self.days.into()));
        if first.is_none_or(|first| first.year() < 1970) || self.end.year() > 9999 {
            return Err(Fault::new("end", "Transactions are of the years 1970 to 9999."));
        }
        if self.dirty > 100 {
            return Err(Fault::new("dirty", "It is a part of the rows in percent, 0 to 100."));
        }
        let has_uniform = self.what == DataKind::Transactions && self.form != TransactionForm::A;
        if self.profile == Profile::Uniform && !has_uniform {
            return Err(Fault::new("profile", "Only transactions of the forms e and wide can be uniform."));
        }
        Ok(())
    }

    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What they are of.
    pub fn what(&self) -> DataKind {
        self.what
    }

    /// What file they are written to.
    pub fn format(&self) -> DataFormat {
        self.format
    }

    /// The day before which everything happened.
    pub fn end(&self) -> NaiveDate {
        self.end
    }

    /// Whether they may be of more months than an upload creates unasked.
    pub fn has_many_months(&self) -> bool {
        self.what == DataKind::Transactions && self.days >= MANY_DAYS
    }

    /// A name for the file: `transactions-wide-1000-seed-1.csv`.
    pub fn filename(&self) -> String {
        let Self { what, rows, seed, format, .. } = self;
        match what {
            DataKind::Transactions => format!("{what}-{}-{rows}-seed-{seed}.{format}", self.form),
            DataKind::Clients | DataKind::Stocks => format!("{what}-{rows}-seed-{seed}.{format}"),
        }
    }
}

/// Whether so many rows can be generated.
pub(super) fn check_rows(rows: u64, format: DataFormat) -> Result<(), Fault> {
    if !(1..=MAX_ROWS).contains(&rows) {
        return Err(Fault::new("num_rows", "A file has 1 to 100,000,000 rows."));
    }
    if format == DataFormat::Xlsx && rows > MAX_WORKBOOK_ROWS {
        let message = "A sheet holds at most 1,048,575 rows below its header; take the format csv for more.";
        return Err(Fault::new("num_rows", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_generated_is_named_with_its_field() {
        let of = |asked: DataRequest| Dataset::try_from(&asked).map(drop).map_err(|fault| fault.field);
        let rows = |num_rows| DataRequest { num_rows, ..DataRequest::default() };
        let uniform = Some(Profile::Uniform);
        for (asked, field) in [
            (rows(0), "num_rows"),
            (rows(MAX_ROWS + 1), "num_rows"),
            (DataRequest { format: Some(DataFormat::Xlsx), ..rows(MAX_WORKBOOK_ROWS + 1) }, "num_rows"),
            (DataRequest { days: Some(0), ..rows(1) }, "days"),
            (DataRequest { days: Some(3_651), ..rows(1) }, "days"),
            (DataRequest { end: NaiveDate::from_ymd_opt(1970, 6, 1), ..rows(1) }, "end"),
            (DataRequest { end: NaiveDate::from_ymd_opt(10_000, 1, 1), ..rows(1) }, "end"),
            (DataRequest { dirty: Some(101), ..rows(1) }, "dirty"),
            (DataRequest { profile: uniform, form: Some(TransactionForm::A), ..rows(1) }, "profile"),
            (DataRequest { profile: uniform, what: Some(DataKind::Stocks), ..rows(1) }, "profile"),
        ] {
            assert_eq!(of(asked.clone()), Err(field), "{asked:?}");
        }
        assert_eq!(of(rows(MAX_ROWS)), Ok(()));
        let full = DataRequest { format: Some(DataFormat::Xlsx), ..rows(MAX_WORKBOOK_ROWS) };
        assert_eq!(of(full), Ok(()));
    }
}
