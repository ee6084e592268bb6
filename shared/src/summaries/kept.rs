//! The four kept tables and what each holds: the one place that says what a total is, and from which
//! everything that writes, mends or checks totals takes its SQL.
//!
//! Whoever changes which rows a total counts holds the total until the commit, also one that is missing:
//! who brings rows by [`Kept::add`], who takes rows away or counts them anew by [`Kept::hold`], which makes
//! the row where there is none. So for whoever holds a total, a new statement sees exactly the rows that
//! it is to count: nobody can commit another before him.

/// A kept table.
pub struct Kept {
    /// Its name.
    pub table: &'static str,
    /// What it is laid out along.
    pub along: Along,
    /// Which rows (`t`) it counts.
    rows: &'static str,
    /// The key, in the order of the primary key, then what is kept.
    columns: &'static [Column],
}

/// What a kept table, and its rows, can be cut along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// The days of the reporting zone.
    Days,
    /// The clients' ids.
    Clients,
}

/// A column and how it comes of rows `t`.
#[derive(Debug, Clone, Copy)]
enum Column {
    /// Key: the day in the reporting zone.
    Day,
    /// Key: a column of text.
    Text(&'static str),
    /// How many.
    Count,
    /// An amount that adds up.
    Sum(&'static str, &'static str),
    Least(&'static str, &'static str),
    Greatest(&'static str, &'static str),
}

use Column::{Count, Day, Greatest, Least, Sum, Text};

const AMOUNTS: Column = Sum("sum", "sum(t.amount)");
const MIN: Column = Least("min", "min(t.amount)");
const MAX: Column = Greatest("max", "max(t.amount)");
const FIRST: Column = Least("first_at", "min(t.occurred_at)");
const LAST: Column = Greatest("last_at", "max(t.occurred_at)");

pub(crate) static MERCHANT_DAYS: Kept = Kept {
    table: "merchant_days",
    along: Along::Days,
    rows: "t.merchant_id IS NOT NULL AND t.status <> 'failed'",
    columns: &[Text("merchant_id"), Day, Text("currency"), Text("kind"), Count, AMOUNTS, MIN, MAX],
};

pub(crate) static CLIENT_TOTALS: Kept = Kept {
    table: "client_totals",
    along: Along::Clients,
    rows: "t.status <> 'failed'",
    columns: &[
        Text("client_id"),
        Text("currency"),
        Count,
        AMOUNTS,
        Sum("spent", "coalesce(sum(t.amount) FILTER (WHERE t.kind IN ('buy', 'payment')), 0)"),
        Sum("gained", "coalesce(sum(t.amount) FILTER (WHERE t.kind IN ('sell', 'refund')), 0)"),
        Sum("sum_squares", "sum(t.amount * t.amount)"),
        MIN,
        MAX,
        FIRST,
        LAST,
    ],
};

pub(crate) static CLIENT_FAILURES: Kept = Kept {
    table: "client_failures",
    along: Along::Clients,
    rows: "t.status = 'failed'",
    columns: &[Text("client_id"), Count, FIRST, LAST],
};

pub(crate) static DAY_TOTALS: Kept = Kept {
    table: "day_totals",
    along: Along::Days,
    rows: "true",
    columns: &[Day, Text("currency"), Text("kind"), Text("status"), Count, AMOUNTS, MIN, MAX],
};

/// All of them, in the order in which writers lock.
pub(crate) static KEPT: [&Kept; 4] = [&MERCHANT_DAYS, &CLIENT_TOTALS, &CLIENT_FAILURES, &DAY_TOTALS];

impl Column {
    fn name(self) -> &'static str {
        match self {
            Day => "day",
            Count => "count",
            Text(name) | Sum(name, _) | Least(name, _) | Greatest(name, _) => name,
        }
    }

    fn is_key(self) -> bool {
        matches!(self, Day | Text(_))
    }

    fn is_extreme(self) -> bool {
        matches!(self, Least(..) | Greatest(..))
    }

    fn of_rows(self) -> String {
        match self {
            Day => "(t.occurred_at AT TIME ZONE :zone)::date".to_owned(),
            Text(name) => format!("t.{name} COLLATE \"C\""),
            Count => "count(*)".to_owned(),
            Sum(_, of) | Least(_, of) | Greatest(_, of) => of.to_owned(),
        }
    }

    /// With what comes to it.
    fn merged(self) -> String {
        let name = self.name();
        match self {
            Least(..) => format!("{name} = least(t.{name}, excluded.{name})"),
            Greatest(..) => format!("{name} = greatest(t.{name}, excluded.{name})"),
            _ => format!("{name} = t.{name} + excluded.{name}"),
        }
    }

    /// What a total that is missing is made with before its rows are counted: bounds that hold them all.
    fn blank(self) -> &'static str {
        match self {
            Count => "1::bigint",
            Least("first_at", _) => "timestamptz 'epoch'",
            Greatest("last_at", _) => "timestamptz '9999-12-31 00:00+00'",
            _ => "0::numeric",
        }
    }

    /// As people and programs read it: amounts exact, as text.
    fn shown(self, of: &str) -> String {
        match self {
            Count | Least("first_at", _) | Greatest("last_at", _) => format!("to_jsonb({of})"),
            _ => format!("to_jsonb({of}::text)"),
        }
    }
}

fn list(columns: impl Iterator<Item = Column>, each: impl Fn(Column) -> String) -> String {
    columns.map(each).collect::<Vec<_>>().join(", ")
}

impl Kept {
    fn columns(&self) -> impl Iterator<Item = Column> {
        self.columns.iter().copied()
    }

    fn keys(&self) -> impl Iterator<Item = Column> {
        self.columns().filter(|column| column.is_key())
    }

    fn values(&self) -> impl Iterator<Item = Column> {
        self.columns().filter(|column| !column.is_key())
    }

    /// The key's columns.
    pub(crate) fn key(&self) -> String {
        list(self.keys(), |column| column.name().to_owned())
    }

    /// All columns.
    pub(crate) fn all(&self) -> String {
        list(self.columns(), |column| column.name().to_owned())
    }

    fn order(&self) -> String {
        list(self.keys(), |column| match column {
            Text(name) => format!("{name} COLLATE \"C\""),
            other => other.name().to_owned(),
        })
    }

    fn of(&self, table: &str, columns: impl Iterator<Item = Column>) -> String {
        list(columns, |column| format!("{table}.{}", column.name()))
    }

    pub(crate) fn same_key(&self, one: &str, other: &str) -> String {
        format!("({}) = ({})", self.of(one, self.keys()), self.of(other, self.keys()))
    }

    /// The totals of the rows `t` of a FROM clause that pass a condition. `:zone` is left in it.
    pub(crate) fn totals(&self, from: &str, condition: &str) -> String {
        let columns = list(self.columns(), |column| format!("{} AS {}", column.of_rows(), column.name()));
        let group: Vec<String> = (1..=self.keys().count()).map(|at| at.to_string()).collect();
        format!(
            "SELECT {columns} FROM {from} WHERE {} AND {condition} GROUP BY {}",
            self.rows,
            group.join(", ")
        )
    }

    /// Adds totals to those that are kept, in the order in which they come, which must be the keys'.
    pub(crate) fn add(&self, from: &str) -> String {
        let (table, all, key) = (self.table, self.all(), self.key());
        let merged = list(self.values(), Column::merged);
        format!(
            "INSERT INTO {table} AS t ({all}) SELECT {all} FROM {from} ON CONFLICT ({key}) DO UPDATE SET {merged}"
        )
    }

    /// [`Kept::add`] of totals that come in any order.
    pub(crate) fn add_sorted(&self, totals: &str) -> String {
        self.add(&format!("(SELECT * FROM ({totals}) AS unsorted ORDER BY {}) AS sorted", self.order()))
    }

    /// Locks the totals with the keys of `from` in one order, each before the next, and makes those that are
    /// missing as they are there; as many as it says it changed. A missing one that another transaction
    /// is making is waited for.
    pub(crate) fn hold(&self, from: &str) -> String {
        let (table, all, key, order) = (self.table, self.all(), self.key(), self.order());
        format!(
            "INSERT INTO {table} AS t ({all}) SELECT {all} FROM {from} ORDER BY {order}
             ON CONFLICT ({key}) DO UPDATE SET count = t.count WHERE false"
        )
    }

    /// [`Kept::hold`] of keys alone.
    pub(crate) fn hold_keys(&self, keys: &str) -> String {
        let blank = list(self.values(), |column| format!("{} AS {}", column.blank(), column.name()));
        self.hold(&format!("(SELECT k.*, {blank} FROM ({keys}) AS k) AS blank"))
    }

    /// Makes the totals of `keys`, which are held, what was `counted` of them: both are queries, `counted` may
    /// name `keys`. What was not counted goes; of the others those are written that differ, or all. `within` says
    /// of the totals `d` what the keys imply. Returns how many were written and how many went.
    pub(crate) fn overwrite(&self, keys: &str, counted: &str, within: &str, all: bool) -> String {
        let table = self.table;
        let set = list(self.values(), |column| format!("{0} = c.{0}", column.name()));
        let differs = if all { "true".to_owned() } else { self.differs("d", "c") };
        let (gone, same) = (self.same_key("d", "k"), self.same_key("d", "c"));
        format!(
            "WITH keys AS MATERIALIZED ({keys}), counted AS MATERIALIZED ({counted}), removed AS (
                 DELETE FROM {table} d USING keys k
                 WHERE {gone} AND {within} AND NOT EXISTS (SELECT FROM counted c WHERE {}) RETURNING 1
             ), written AS (
                 UPDATE {table} d SET {set} FROM counted c WHERE {same} AND {within} AND {differs} RETURNING 1
             )
             SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM removed)",
            self.same_key("c", "k")
        )
    }

    /// Takes totals `from` a query, of rows that have left, out of those that are kept, which are held. Where one of
    /// their extremes may have left, or nothing is left, `counted` says what is: it may name `keys`, which then are
    /// the keys of those.
    pub(crate) fn leave(&self, from: &str, counted: &str) -> String {
        let (table, order) = (self.table, self.of("g", self.keys()));
        let set = list(self.values().filter(|column| !column.is_extreme()), |column| {
            format!("{0} = d.{0} - g.{0}", column.name())
        });
        let inside: Vec<String> = self
            .values()
            .filter_map(|column| match column {
                Least(name, _) => Some(format!("d.{name} < g.{name}")),
                Greatest(name, _) => Some(format!("d.{name} > g.{name}")),
                _ => None,
            })
            .collect();
        let keys = format!(
            "SELECT {order} FROM gone g WHERE NOT EXISTS (SELECT FROM less l WHERE {})",
            self.same_key("l", "g")
        );
        format!(
            "WITH gone AS MATERIALIZED ({from}), less AS (
                 UPDATE {table} d SET {set} FROM gone g WHERE {} AND {} RETURNING {}
             ), {}",
            self.same_key("d", "g"),
            inside.join(" AND "),
            self.of("d", self.keys()),
            self.overwrite(&keys, counted, "true", false).trim_start_matches("WITH ")
        )
    }

    fn differs(&self, one: &str, other: &str) -> String {
        format!("({}) IS DISTINCT FROM ({})", self.of(one, self.values()), self.of(other, self.values()))
    }

    /// Compares what is `kept` with what was `counted`, both queries, in one statement and so at one moment:
    /// how many totals there are, how many differ, and the first of those as JSON.
    pub(crate) fn compare(&self, kept: &str, counted: &str, first: usize) -> String {
        let key = self.key();
        let pairs = |of: &dyn Fn(Column) -> String, columns: Vec<Column>| {
            list(columns.into_iter(), |column| format!("'{}', {}", column.name(), of(column)))
        };
        let side = |table: &str| {
            let values = pairs(
                &|column| column.shown(&format!("d.{table}_{}", column.name())),
                self.values().collect(),
            );
            format!("CASE WHEN d.{table}_count IS NOT NULL THEN jsonb_build_object({values}) END")
        };
        let sides =
            list(self.values(), |column| format!("k.{0} AS kept_{0}, c.{0} AS right_{0}", column.name()));
        let keys = pairs(&|column| format!("d.{}", column.name()), self.keys().collect());
        format!(
            "WITH kept AS MATERIALIZED ({kept}), counted AS MATERIALIZED ({counted}), compared AS MATERIALIZED (
                 SELECT {key}, {} AS differs, {sides} FROM kept k FULL JOIN counted c USING ({key})
             )
             SELECT (SELECT count(*) FROM compared), (SELECT count(*) FROM compared WHERE differs),
                    (SELECT jsonb_agg(jsonb_build_object('table', '{}', 'key', jsonb_build_object({keys}),
                                                         'kept', {}, 'right', {}) ORDER BY {key})
                     FROM (SELECT * FROM compared WHERE differs ORDER BY {key} LIMIT {first}) AS d)",
            self.differs("k", "c"),
            self.table,
            side("kept"),
            side("right"),
        )
    }
}

/// Puts the reporting zone into SQL of this module.
pub(crate) fn in_zone(sql: &str, zone: chrono_tz::Tz) -> String {
    // The names of zones have no quotes.
    sql.replace(":zone", &format!("'{}'", zone.name()))
}
