//! What is wrong with files of the real world: rows that come twice, and rows that are no rows. The
//! others are those of the clean file.

use super::{DataKind, TransactionForm, blocks::Tally, draws::Draws};

/// Keeps the stream apart: the rows that stay clean are those of the clean file.
const STREAM: u64 = 900;
/// How many of the last good rows may come again.
const REMEMBERED: usize = 64;

/// What is done to a row. Columns are counted from 0; no field before a damaged one is quoted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Damage {
    /// The column is empty.
    Blank(usize),
    /// The column holds this.
    Replace(usize, &'static str),
    /// The row ends before this column.
    Cut(usize),
}

/// Damages after which a row cannot be loaded, from CSV or from a sheet.
pub(super) fn damages(what: DataKind, form: TransactionForm) -> &'static [Damage] {
    use Damage::{Blank, Cut, Replace};
    match (what, form) {
        (DataKind::Clients, _) => &[
            Blank(0),
            Replace(2, "nobody"),
            Replace(3, "1990-02-30"),
            Replace(5, "platinum"),
            Replace(6, "12.5O"),
        ],
        (DataKind::Stocks, _) => &[Blank(0), Replace(3, "12.5O"), Replace(7, "-5"), Cut(4)],
        (DataKind::Transactions, TransactionForm::E) => {
            &[Blank(1), Replace(3, "2025-02-30T10:00:00Z"), Replace(4, "12.5O"), Cut(3)]
        }
        (DataKind::Transactions, TransactionForm::Wide) => &[
            Blank(1),
            Replace(2, "gift"),
            Replace(3, "2025-02-30T10:00:00Z"),
            Replace(8, "12.5O"),
            Replace(9, "EURO"),
            Replace(10, "maybe"),
            Cut(4),
        ],
        (DataKind::Transactions, TransactionForm::A) => &[
            Blank(1),
            Replace(2, "gift"),
            Replace(3, "2025-02-30"),
            Replace(8, "12.5O"),
            Replace(9, "EURO"),
            Cut(4),
        ],
    }
}

/// Makes some rows dirty, about half of them repetitions.
pub(super) struct Dirt {
    draws: Draws,
    percent: u8,
    damages: &'static [Damage],
    good: Vec<Vec<u8>>,
    /// The place in `good` of the oldest row.
    oldest: usize,
}

impl Dirt {
    pub(super) fn new(seed: u64, percent: u8, damages: &'static [Damage]) -> Self {
        Self { draws: Draws::new(seed, STREAM), percent, damages, good: Vec::new(), oldest: 0 }
    }

    /// Looks at the row that begins at `start`, and may make another of it.
    pub(super) fn touch(&mut self, rows: &mut Vec<u8>, start: usize, tally: &mut Tally) {
        if self.draws.below(100) >= u32::from(self.percent) {
            return self.remember(&rows[start..]);
        }
        if self.draws.below(2) == 0 && !self.good.is_empty() {
            let earlier = self.draws.below(self.good.len() as u32) as usize;
            rows.truncate(start);
            rows.extend_from_slice(&self.good[earlier]);
            tally.repeated += 1;
        } else {
            let damage = self.draws.one_of(self.damages);
            damage.apply(rows, start);
            tally.malformed += 1;
        }
    }

    fn remember(&mut self, row: &[u8]) {
        if self.good.len() < REMEMBERED {
            self.good.push(row.to_vec());
            return;
        }
        let place = &mut self.good[self.oldest];
        place.clear();
        place.extend_from_slice(row);
        self.oldest = (self.oldest + 1) % REMEMBERED;
    }
}

impl Damage {
    fn apply(self, rows: &mut Vec<u8>, start: usize) {
        let column = |number: usize| {
            let mut at = start;
            for _ in 0..number {
                at += memchr::memchr(b',', &rows[at..]).map_or(rows.len() - at, |comma| comma + 1);
            }
            let end = memchr::memchr(b',', &rows[at..]).map_or(rows.len(), |comma| at + comma);
            at..end
        };
        match self {
            Self::Blank(number) => drop(rows.drain(column(number))),
            Self::Replace(number, value) => drop(rows.splice(column(number), value.bytes())),
            Self::Cut(number) => {
                let before = column(number).start - 1;
                rows.truncate(before);
            }
        }
    }
}
