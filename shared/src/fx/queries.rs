//! Statements about exchange rates.

use super::model::{FxRate, NewRate};
use crate::schema::fx_rates;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Of each pair, the rate that is in force at a moment.
pub async fn in_force(conn: &mut AsyncPgConnection, at: DateTime<Utc>) -> QueryResult<Vec<FxRate>> {
    fx_rates::table
        .filter(fx_rates::valid_from.le(at))
        .distinct_on((fx_rates::base, fx_rates::quote))
        .order((fx_rates::base, fx_rates::quote, fx_rates::valid_from.desc()))
        .select(FxRate::as_select())
        .load(conn)
        .await
}

/// Rates as they were added, of all pairs, the latest to come into force first.
pub async fn history(conn: &mut AsyncPgConnection, limit: i64) -> QueryResult<Vec<FxRate>> {
    fx_rates::table
        .order((fx_rates::valid_from.desc(), fx_rates::base, fx_rates::quote))
        .limit(limit)
        .select(FxRate::as_select())
        .load(conn)
        .await
}

/// Adds a rate; none if the pair has one from that moment on.
pub async fn insert(conn: &mut AsyncPgConnection, new: &NewRate, by: &str) -> QueryResult<Option<FxRate>> {
    diesel::insert_into(fx_rates::table)
        .values((
            fx_rates::base.eq(&new.base),
            fx_rates::quote.eq(&new.quote),
            fx_rates::rate.eq(new.rate),
            fx_rates::valid_from.eq(new.valid_from),
            fx_rates::created_by.eq(by),
        ))
        .on_conflict_do_nothing()
        .returning(FxRate::as_returning())
        .get_result(conn)
        .await
        .optional()
}
