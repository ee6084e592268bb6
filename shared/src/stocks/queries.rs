//! Statements about stocks.

use super::model::{NewStock, Stock};
use crate::{
    pagination::{Page, PageRequest},
    schema::stocks,
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// One stock.
pub async fn find_stock(conn: &mut AsyncPgConnection, ticker: &str) -> QueryResult<Option<Stock>> {
    stocks::table.find(ticker).select(Stock::as_select()).first(conn).await.optional()
}

/// Lists a stock; none if its ticker is taken.
pub(super) async fn insert(
    conn: &mut AsyncPgConnection,
    new: &NewStock,
    by: &str,
) -> QueryResult<Option<Stock>> {
    diesel::insert_into(stocks::table)
        .values((
            stocks::ticker.eq(&new.ticker),
            stocks::name.eq(&new.name),
            stocks::currency.eq(&new.currency),
            stocks::open_price.eq(new.open_price),
            stocks::close_price.eq(new.close_price),
            stocks::high.eq(new.high),
            stocks::low.eq(new.low),
            stocks::volume.eq(new.volume),
            stocks::listed_volume.eq(new.volume),
            stocks::created_by.eq(by),
        ))
        .on_conflict_do_nothing()
        .returning(Stock::as_returning())
        .get_result(conn)
        .await
        .optional()
}

/// Stocks, the last listed first; of those whose ticker or name begins with `search`, if it is given. The
/// cursor's key is the stock's number.
pub async fn list_stocks(
    conn: &mut AsyncPgConnection,
    search: Option<&str>,
    request: &PageRequest,
) -> QueryResult<Page<Stock>> {
    let mut query = stocks::table.select(Stock::as_select()).into_boxed();
    if let Some(search) = search {
        let pattern = format!("{}%", search.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        query = query.filter(stocks::ticker.ilike(pattern.clone()).or(stocks::name.ilike(pattern)));
    }
    let from: Option<i32> = request.cursor.as_ref().and_then(|cursor| cursor.single().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(stocks::id.gt(id)).order(stocks::id.asc()),
        (Some(id), false) => query.filter(stocks::id.lt(id)).order(stocks::id.desc()),
        (None, _) => query.order(stocks::id.desc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |stock| vec![stock.id.to_string()]))
}
