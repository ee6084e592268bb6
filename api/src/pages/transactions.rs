//! The list of transactions, and what the client's page shares with it: a row, the filter.

use super::{
    address::{Address, segment},
    fmt,
    pieces::{Badge, Empty, Money, Pager, Time},
    shell::{Shell, page},
};
use crate::{app::AppState, error::ApiResult};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::Deserialize;
use shared::{
    pagination::{Cursor, Page, PageRequest},
    transactions::{
        Transaction, TransactionKind, TransactionStatus,
        queries::{self, TransactionFilter},
    },
};
use std::str::FromStr;

/// A transaction in a list.
pub struct TransactionLine {
    /// Its id.
    pub id: String,
    /// Its page.
    pub href: String,
    /// When.
    pub at: Time,
    /// Whose.
    pub client: String,
    /// Which way.
    pub kind: TransactionKind,
    /// Of what, or with whom.
    pub what: String,
    /// How much.
    pub amount: Money,
    /// Whether it took place.
    pub badge: Badge,
    /// Where it came from.
    pub source: String,
    /// The page of the upload or the trade that it came from.
    pub source_href: Option<String>,
}

impl TransactionLine {
    /// The line of a transaction.
    pub fn new(row: &Transaction, shell: &Shell) -> Self {
        let upload = row.source_id.filter(|_| row.source == "upload");
        Self {
            id: row.transaction_id.clone(),
            href: transaction_href(&row.transaction_id),
            at: shell.date(row.occurred_at),
            client: row.client_id.clone(),
            kind: row.kind,
            what: Subject::of(row).words(),
            amount: Money::new(row.amount, &row.currency),
            badge: row.status.into(),
            source: match row.source_line {
                Some(line) if upload.is_some() => format!("line {}", fmt::count(i64::from(line))),
                _ => row.source.clone(),
            },
            source_href: match row.source.as_str() {
                // A trade's transaction has its id.
                "trade" => Some(format!("/ui/trades/{}", segment(&row.transaction_id))),
                _ => upload.map(|upload| format!("/ui/uploads/{upload}")),
            },
        }
    }

    /// The client's page.
    pub fn client_href(&self) -> String {
        format!("/ui/clients/{}", segment(&self.client))
    }
}

/// The page of a transaction.
pub fn transaction_href(id: &str) -> String {
    match id {
        // The live view has that address.
        "live" => "/ui/transactions/%6Cive".to_owned(),
        id => format!("/ui/transactions/{}", segment(id)),
    }
}

/// What a transaction is about.
pub struct Subject<'t> {
    /// The stock's ticker, or else its name.
    pub stock: Option<&'t str>,
    /// How many shares.
    pub shares: Option<Decimal>,
    /// Price of one.
    pub price: Option<Decimal>,
    /// The merchant and the product.
    pub names: [Option<&'t str>; 2],
}

impl<'t> Subject<'t> {
    fn of(row: &'t Transaction) -> Self {
        Self {
            stock: row.ticker.as_deref().or(row.stock_name.as_deref()),
            shares: row.shares,
            price: row.price,
            names: [row.merchant_id.as_deref(), row.product_id.as_deref()],
        }
    }

    /// `12.5 × ACME at 10.20`, or the merchant and the product. `live.js` writes the same.
    pub fn words(&self) -> String {
        let decimal = |number: Decimal| {
            let (whole, decimals) = fmt::amount(number);
            format!("{whole}{}", if decimals == ".00" { "" } else { &decimals })
        };
        let Some(stock) = self.stock else {
            let mut names = self.names.into_iter().flatten().map(|name| fmt::cut(name, 40));
            let first = names.next().unwrap_or_default();
            return names.fold(first, |names, name| names + " · " + &name);
        };
        let mut text = fmt::cut(stock, 40);
        if let Some(shares) = self.shares {
            text = format!("{} × {text}", decimal(shares));
        }
        if let Some(price) = self.price {
            text = format!("{text} at {}", decimal(price));
        }
        text
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
    from: Option<String>,
    until: Option<String>,
    kind: Option<String>,
    status: Option<String>,
    cursor: Option<String>,
}

impl Wanted {
    /// The part of the list that is wanted.
    pub(super) fn page(&self) -> ApiResult<PageRequest> {
        let cursor = self.cursor.as_deref().map(Cursor::decode).transpose()?;
        Ok(PageRequest { cursor, ..PageRequest::default() })
    }
}

/// The filter as its form shows it.
pub struct FilterForm {
    /// The list with this filter.
    pub here: Address,
    /// The page that the form leads to.
    pub path: String,
    /// First day, as `YYYY-MM-DD`.
    pub from: String,
    /// Last day, included.
    pub until: String,
    /// Each kind, and whether it is chosen.
    pub kinds: Vec<(TransactionKind, bool)>,
    /// Each status, and whether it is chosen.
    pub statuses: Vec<(TransactionStatus, bool)>,
    /// A day that could not be read.
    pub complaint: Option<String>,
    /// What else the page's address holds and the form repeats.
    pub kept: Vec<(&'static str, String)>,
}

impl FilterForm {
    /// Keeps parameters that are not the filter's; blank ones are none.
    pub fn keep<const N: usize>(&mut self, parameters: [(&'static str, &str); N]) {
        for (name, value) in parameters.into_iter().filter(|(_, value)| !value.is_empty()) {
            self.here = self.here.with(name, value);
            self.kept.push((name, value.to_owned()));
        }
    }

    /// Whether the filter narrows the list.
    pub fn is_on(&self) -> bool {
        self.here.fields().len() > self.kept.len()
    }

    /// The page without the filter.
    pub fn cleared(&self) -> String {
        let bare = Address::new(&self.path);
        self.kept.iter().fold(bare, |address, (name, value)| address.with(name, value)).to_string()
    }

    /// The filter in words, for the empty list.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        words.extend((!self.from.is_empty()).then(|| format!("a day from {} on", self.from)));
        words.extend((!self.until.is_empty()).then(|| format!("a day up to {}", self.until)));
        words.extend(self.kinds.iter().filter(|(_, on)| *on).map(|(kind, _)| format!("the kind {kind}")));
        words.extend(
            self.statuses.iter().filter(|(_, on)| *on).map(|(status, _)| format!("the status {status}")),
        );
        if words.is_empty() { "this filter".to_owned() } else { words.join(" and ") }
    }
}

/// Reads the filter. Days are days in the reporting zone, the last one included.
pub(super) fn read_filter(wanted: &Wanted, path: &str, zone: Tz) -> (TransactionFilter, FilterForm) {
    let mut complaint = None;
    let mut day = |text: &Option<String>| {
        let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
        let day = fmt::read_day(text);
        if day.is_none() {
            complaint = Some(fmt::no_day(text));
        }
        day
    };
    let (from, until) = (day(&wanted.from), day(&wanted.until));
    if from.zip(until).is_some_and(|(from, until)| from > until) {
        complaint = Some("The range ends before it begins.".to_owned());
    }
    let kind = word::<TransactionKind>("kind", &wanted.kind, &mut complaint);
    let status = word::<TransactionStatus>("status", &wanted.status, &mut complaint);
    let filter = TransactionFilter {
        from: from.map(|day| start_of(day, zone)),
        until: until.and_then(|day| day.checked_add_days(Days::new(1))).map(|day| start_of(day, zone)),
        kind,
        status,
        ..TransactionFilter::default()
    };
    let text = |day: Option<NaiveDate>| day.map(|day| day.to_string()).unwrap_or_default();
    let form = FilterForm {
        here: Address::new(path)
            .with("from", &text(from))
            .with("until", &text(until))
            .maybe("kind", kind.map(TransactionKind::as_str))
            .maybe("status", status.map(TransactionStatus::as_str)),
        path: path.to_owned(),
        from: text(from),
        until: text(until),
        kinds: TransactionKind::ALL.iter().map(|one| (*one, kind == Some(*one))).collect(),
        statuses: TransactionStatus::ALL.iter().map(|one| (*one, status == Some(*one))).collect(),
        complaint,
        kept: Vec::new(),
    };
    (filter, form)
}

/// One of a few words; one that is none of them is complained of.
pub(super) fn word<T: FromStr>(
    name: &str,
    typed: &Option<String>,
    complaint: &mut Option<String>,
) -> Option<T> {
    let typed = typed.as_deref().filter(|typed| !typed.is_empty())?;
    let read = typed.parse().ok();
    if read.is_none() {
        *complaint = Some(format!("“{}” is no {name}.", fmt::cut(typed, 40)));
    }
    read
}

/// The first instant of a day; where clocks skip midnight, the first one after it.
pub(super) fn start_of(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    (0..4)
        .find_map(|hours| zone.from_local_datetime(&(midnight + chrono::TimeDelta::hours(hours))).earliest())
        .map_or_else(|| midnight.and_utc(), |at| at.with_timezone(&Utc))
}

#[derive(Template)]
#[template(path = "pages/transactions/list.html")]
struct ListPage {
    shell: Shell,
    search: String,
    filter: FilterForm,
    transactions: Vec<TransactionLine>,
    pager: Pager,
    empty: Option<Empty>,
}

/// `GET /ui/transactions`.
pub(super) async fn list(
    shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let search = wanted
        .q
        .as_deref()
        .unwrap_or_default()
        .replace('\0', "")
        .trim()
        .chars()
        .take(200)
        .collect::<String>();
    let (filter, mut form) = read_filter(&wanted, "/ui/transactions", shell.zone);
    form.here = form.here.with("q", &search);
    let mut conn = state.env.pool.get().await?;
    let exact = match search.as_str() {
        "" => None,
        id => queries::find_transaction(&mut conn, id).await?,
    };
    let found = match exact {
        Some(row) => Page { items: vec![row], older: None, newer: None },
        None => {
            let client_id = Some(search.clone()).filter(|search| !search.is_empty());
            let filter = TransactionFilter { client_id, ..filter };
            queries::list_transactions(&mut conn, &filter, &wanted.page()?).await?
        }
    };
    let empty = found.items.is_empty().then(|| nothing(&search, &form));
    page(&ListPage {
        pager: Pager::by_time(&found, &form.here, "transaction"),
        transactions: found.items.iter().map(|row| TransactionLine::new(row, &shell)).collect(),
        empty,
        search,
        filter: form,
        shell,
    })
}

fn nothing(search: &str, form: &FilterForm) -> Empty {
    if !form.here.is_filtered() {
        return Empty::nothing_yet(
            "No transaction yet",
            "Transactions come from a file: an id, a client, a time and an amount to a row.",
            "Upload a transactions file",
            "/ui/uploads/new",
        )
        .or_by("millrace generate transactions --rows 100000 > sample.csv");
    }
    let words = match search {
        "" => form.words(),
        _ => format!("the transaction or client id “{}” and {}", fmt::cut(search, 80), form.words()),
    };
    Empty::nothing_matches("transactions", words.trim_end_matches(" and this filter"), &form.here.cleared())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_in_its_zone() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(
            start_of(day("2026-07-01"), chrono_tz::Europe::Berlin).to_rfc3339(),
            "2026-06-30T22:00:00+00:00"
        );
        // In Cairo clocks went from 00:00 to 01:00.
        assert_eq!(
            start_of(day("2024-04-26"), chrono_tz::Africa::Cairo).to_rfc3339(),
            "2024-04-25T22:00:00+00:00"
        );
    }
}
