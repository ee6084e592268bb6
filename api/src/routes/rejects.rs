//! The records of an upload that were not loaded: as a file to mend and hand in again, or as JSON.

use crate::{
    app::AppState,
    error::ApiResult,
    list::Listing,
    mending::download,
    params::{FromParams, ListParams, ListQuery, PageParams, Params, PathId},
    routes::uploads,
    views::uploads::RejectView,
};
use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::Response,
};
use shared::{
    ids::UploadId,
    pagination::{Cursor, Direction, InvalidCursor},
    uploads::queries,
};
use utoipa::IntoParams;

/// A list without filters, in the order of the file.
#[derive(IntoParams)]
pub struct RejectParams {}

impl FromParams for RejectParams {
    fn from_params(_params: &Params) -> ApiResult<Self> {
        Ok(Self {})
    }
}

impl ListParams for RejectParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<i64>().map(drop)
    }
}

/// Download the records that were not loaded.
///
/// In the file's own format: a workbook's as a workbook whose cells are all text, others as text with the
/// file's delimiter and encoding (in UTF-8 with a byte order mark, if a record holds a character that the
/// encoding lacks; `Content-Type` says which); what came compressed goes plain. The file's own columns
/// come first, then `reject_code` and `reject_reason`, and between them, if a record has more fields than the
/// header, columns without a name for those (at most 100). Each record stands as it stood in the file (cells
/// that a spreadsheet would take for formulas are not disarmed); one that cannot be split into fields, or
/// into so many columns, stands whole in the first cell. Mended and handed in again, the file is linked to this upload
/// (`corrects`). With `Accept: application/json` a list by line, to which alone `limit` and `cursor`
/// apply.
#[utoipa::path(get, path = "/api/v1/uploads/{id}/rejects", tag = "uploads",
    params(("id" = uuid::Uuid, Path, description = "The upload"), PageParams), responses(
    (status = 200, description = "The rejects; `previous` of the list is always null", content(
        (String = "text/csv"),
        (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (Listing<RejectView> = "application/json"))),
    (status = 404, description = "There is no such upload"),
))]
pub async fn list_rejects(
    State(state): State<AppState>,
    PathId(id): PathId<UploadId>,
    headers: HeaderMap,
    query: ListQuery<RejectParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let upload = uploads::find(&mut conn, id).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.contains("application/json") {
        drop(conn);
        return download(state, upload).await;
    }
    let after = query.page.cursor.as_ref().and_then(|cursor| cursor.single::<i64>().ok()).unwrap_or(0);
    let mut rejects = queries::rejects(&mut conn, id, after, query.page.limit + 1).await?;
    let more = rejects.len() as i64 > query.page.limit;
    rejects.truncate(usize::try_from(query.page.limit).unwrap_or(usize::MAX));
    let next = rejects
        .last()
        .filter(|_| more)
        .map(|reject| Cursor { direction: Direction::Older, key: vec![reject.line.to_string()] }.encode());
    let items = rejects.into_iter().map(RejectView::from).collect();
    Ok(Listing { items, next, previous: None }.respond(&query.uri))
}
