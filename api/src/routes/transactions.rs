//! Transactions.

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{FromParams, ListParams, ListQuery, NoQuery, PageParams, Params, PathText},
    views::{
        transactions::{OriginView, TracedTransactionView, TransactionView},
        words,
    },
};
use axum::{Json, extract::State, http::Uri, response::Response};
use chrono::{DateTime, Datelike, Utc};
use diesel_async::AsyncPgConnection;
use shared::{
    ids::UploadId,
    pagination::{Cursor, InvalidCursor, PageRequest},
    storage::Storage,
    transactions::{Transaction, TransactionKind, TransactionStatus, queries, queries::TransactionFilter},
    uploads::{lineage, queries::find_upload},
};
use utoipa::IntoParams;

/// What a list of transactions is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RangeParams {
    /// Not before: a day in the reporting zone, or an instant.
    #[param(value_type = Option<String>, example = "2026-01-01")]
    from: Option<DateTime<Utc>>,
    /// A day in the reporting zone, which still counts, or an instant, before which the range ends.
    #[param(value_type = Option<String>, example = "2026-01-31")]
    to: Option<DateTime<Utc>>,
    /// Only this kind.
    #[param(schema_with = words::transaction_kind)]
    kind: Option<TransactionKind>,
    /// Only this status.
    #[param(schema_with = words::transaction_status)]
    status: Option<TransactionStatus>,
    /// Only this currency (ISO 4217).
    #[param(example = "USD")]
    currency: Option<String>,
}

impl FromParams for RangeParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            from: params.from("from")?,
            to: params.until("to")?,
            kind: params.parsed("kind")?,
            status: params.parsed("status")?,
            currency: currency(params)?,
        })
    }
}

/// The parameter `currency`.
pub fn currency(params: &Params) -> ApiResult<Option<String>> {
    code(params, "currency")
}

/// A parameter that is a currency.
pub fn code(params: &Params, name: &str) -> ApiResult<Option<String>> {
    let Some(text) = params.text(name)? else {
        return Ok(None);
    };
    if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(ApiError::bad_parameter(name, "A currency is three letters, such as USD."));
    }
    Ok(Some(text.to_ascii_uppercase()))
}

/// The key of a page of transactions: time and id.
fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
    match cursor.key.as_slice() {
        [at, _] => {
            let at: DateTime<Utc> = at.parse().map_err(|_| InvalidCursor)?;
            // PostgreSQL's range is narrower than chrono's.
            if (1..=9999).contains(&at.year()) { Ok(()) } else { Err(InvalidCursor) }
        }
        _ => Err(InvalidCursor),
    }
}

impl ListParams for RangeParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        check_cursor(cursor)
    }
}

impl RangeParams {
    /// The filter over all clients. A range that ends before it begins is refused.
    pub fn into_filter(self) -> ApiResult<TransactionFilter> {
        if self.from.zip(self.to).is_some_and(|(from, to)| from >= to) {
            return Err(ApiError::bad_parameter("to", "The range ends before it begins."));
        }
        Ok(TransactionFilter {
            client_id: None,
            from: self.from,
            until: self.to,
            kind: self.kind,
            status: self.status,
            currency: self.currency,
        })
    }
}

/// Answers with a page of transactions.
pub async fn respond(
    conn: &mut AsyncPgConnection,
    filter: &TransactionFilter,
    page: &PageRequest,
    uri: &Uri,
) -> ApiResult<Response> {
    let page = queries::list_transactions(conn, filter, page).await?;
    Ok(Listing::of(page, TransactionView::from).respond(uri))
}

/// What a list of all transactions is narrowed to, besides the range.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TransactionParams {
    /// Only this client.
    client_id: Option<String>,
    /// Not before: a day in the reporting zone, or an instant.
    #[param(value_type = Option<String>, example = "2026-01-01")]
    from: Option<DateTime<Utc>>,
    /// A day in the reporting zone, which still counts, or an instant, before which the range ends.
    #[param(value_type = Option<String>, example = "2026-01-31")]
    to: Option<DateTime<Utc>>,
    /// Only this kind.
    #[param(schema_with = words::transaction_kind)]
    kind: Option<TransactionKind>,
    /// Only this status.
    #[param(schema_with = words::transaction_status)]
    status: Option<TransactionStatus>,
    /// Only this currency (ISO 4217).
    #[param(example = "USD")]
    currency: Option<String>,
}

impl FromParams for TransactionParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        let RangeParams { from, to, kind, status, currency } = RangeParams::from_params(params)?;
        Ok(Self { client_id: params.text("client_id")?, from, to, kind, status, currency })
    }
}

impl ListParams for TransactionParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        check_cursor(cursor)
    }
}

/// List transactions, newest first.
#[utoipa::path(get, path = "/api/v1/transactions", tag = "transactions",
    params(TransactionParams, PageParams), responses(
    (status = 200, description = "A page of transactions", body = Listing<TransactionView>),
))]
pub async fn list_transactions(
    State(state): State<AppState>,
    query: ListQuery<TransactionParams>,
) -> ApiResult<Response> {
    let TransactionParams { client_id, from, to, kind, status, currency } = query.params;
    let mut filter = RangeParams { from, to, kind, status, currency }.into_filter()?;
    filter.client_id = client_id;
    let mut conn = state.env.pool.get().await?;
    respond(&mut conn, &filter, &query.page, &query.uri).await
}

/// Show a transaction.
#[utoipa::path(get, path = "/api/v1/transactions/{id}", tag = "transactions",
    params(("id" = String, Path, description = "The transaction")), responses(
    (status = 200, description = "The transaction and where it came from", body = TracedTransactionView),
    (status = 404, description = "There is no such transaction"),
))]
pub async fn show_transaction(
    State(state): State<AppState>,
    PathText(id): PathText,
    _: NoQuery,
) -> ApiResult<Json<TracedTransactionView>> {
    let mut conn = state.env.pool.get().await?;
    let found = queries::find_transaction(&mut conn, &id).await?;
    let shown: String = id.chars().take(80).collect();
    let row = found.ok_or_else(|| ApiError::not_found(format!("There is no transaction {shown:?}.")))?;
    let origin = trace(&mut conn, &state.env.storage, &row).await?;
    let moved_by = lineage::moved_by(&mut conn, &row.transaction_id).await?;
    Ok(Json(TracedTransactionView {
        origin,
        moved_from_pending_by: moved_by.map(|id| format!("/api/v1/uploads/{id}")),
        transaction: row.into(),
    }))
}

/// Where a row that came in a file stood there.
async fn trace(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    row: &Transaction,
) -> ApiResult<Option<OriginView>> {
    let (Some(id), Some(line), "upload") = (row.source_id, row.source_line, row.source.as_str()) else {
        return Ok(None);
    };
    let Some(upload) = find_upload(conn, UploadId(id)).await? else { return Ok(None) };
    let original = lineage::original(conn, storage, &upload, i64::from(line)).await?;
    Ok(Some(OriginView::new(&upload, line, original)))
}
