//! Listing stocks and registering account holders, from the API, from the pages and from the replaced service's
//! routes alike.

use super::repeat;
use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::Serialize;
use shared::{
    audit,
    cache::Topic,
    clients::{self, Client, NewAccount},
    stocks::{self, NewStock, Stock},
};

/// Lists a stock: as it is, and whether this request listed it. `asked` describes the request.
pub async fn list(
    state: &AppState,
    principal: &Principal,
    new: &NewStock,
    key: Option<&str>,
    asked: &(impl Serialize + Sync),
) -> ApiResult<(Stock, bool)> {
    let listing = insert(state, principal, new, key, asked);
    let known = |listed: &ApiResult<_>| !listed.as_ref().is_err_and(|error| error.status().is_server_error());
    state.env.cache.change(&state.env.pool, &[Topic::Stocks], known, listing).await?
}

async fn insert(
    state: &AppState,
    principal: &Principal,
    new: &NewStock,
    key: Option<&str>,
    asked: &(impl Serialize + Sync),
) -> ApiResult<(Stock, bool)> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let actor = &principal.name;
    conn.transaction::<_, ApiError, _>(async move |conn| {
        if let Some(ticker) = repeat::claim::<String>(conn, actor, key, "stock", asked).await? {
            let stock = stocks::queries::find_stock(conn, &ticker).await?;
            return Ok((stock.ok_or_else(|| no_stock(&ticker))?, false));
        }
        let stock = stocks::list_stock(conn, new, actor).await?;
        let details = serde_json::json!({ "close_price": stock.close_price, "volume": stock.volume });
        audit::record(conn, actor, "stock.list", &stock.ticker, &details).await?;
        repeat::point(conn, actor, key, &stock.ticker).await?;
        Ok((stock, true))
    })
    .await
}

/// 404: there is no such stock.
pub fn no_stock(ticker: &str) -> ApiError {
    let ticker: String = ticker.chars().take(80).collect();
    ApiError::not_found(format!("There is no stock {ticker:?}."))
}

/// Registers an account holder: as it is, and whether this request registered it.
pub async fn register(
    state: &AppState,
    principal: &Principal,
    new: &NewAccount,
    key: Option<&str>,
    asked: &(impl Serialize + Sync),
) -> ApiResult<(Client, bool)> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let actor = &principal.name;
    conn.transaction::<_, ApiError, _>(async move |conn| {
        if let Some(id) = repeat::claim::<String>(conn, actor, key, "client", asked).await? {
            let client = clients::queries::find_client(conn, &id).await?;
            return Ok((client.ok_or_else(|| crate::routes::clients::no_client(&id))?, false));
        }
        let client = clients::register(conn, new, actor).await?;
        repeat::point(conn, actor, key, &client.client_id).await?;
        Ok((client, true))
    })
    .await
}
