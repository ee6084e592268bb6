//! Listing a stock.

use super::{
    error::StockError,
    model::{NewStock, Stock},
    queries,
};
use diesel_async::AsyncPgConnection;

/// Lists a stock on behalf of `by`.
pub async fn list_stock(conn: &mut AsyncPgConnection, new: &NewStock, by: &str) -> Result<Stock, StockError> {
    let faults = new.faults();
    if !faults.is_empty() {
        return Err(StockError::Invalid(faults));
    }
    queries::insert(conn, new, by).await?.ok_or_else(|| StockError::Taken(new.ticker.clone()))
}
