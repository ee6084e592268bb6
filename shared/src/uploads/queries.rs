//! Statements about uploads.

use super::{
    model::{Chunk, Reject, Upload, UploadCounts, UploadKind, UploadState},
    options::ExplicitMapping,
    service::{without_nameless, without_reject_columns},
};
use crate::{
    ids::{RunId, UploadId},
    pagination::{Page, PageRequest},
    schema::{transaction_deletions, upload_chunks, upload_rejects, uploads},
};
use chrono::{DateTime, Utc};
use diesel::{
    dsl::{exists, not},
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::HashMap;

/// One upload.
pub async fn find_upload(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<Option<Upload>> {
    uploads::table.find(id).select(Upload::as_select()).first(conn).await.optional()
}

/// One piece of an upload.
pub async fn find_chunk(conn: &mut AsyncPgConnection, id: UploadId, chunk: i32) -> QueryResult<Chunk> {
    upload_chunks::table.find((id, chunk)).select(Chunk::as_select()).first(conn).await
}

/// What a list of uploads is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct UploadFilter {
    /// Any of these states; all if empty.
    pub states: Vec<UploadState>,
    /// Only this kind.
    pub kind: Option<UploadKind>,
}

/// Uploads, newest first. The cursor's key is the upload's id.
pub async fn list_uploads(
    conn: &mut AsyncPgConnection,
    filter: &UploadFilter,
    request: &PageRequest,
) -> QueryResult<Page<Upload>> {
    let mut query = uploads::table.select(Upload::as_select()).into_boxed();
    if !filter.states.is_empty() {
        query = query.filter(uploads::state.eq_any(filter.states.clone()));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(uploads::kind.eq(kind));
    }
    let from: Option<UploadId> = request.cursor.as_ref().and_then(|cursor| cursor.single().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(uploads::id.gt(id)).order(uploads::id.asc()),
        (Some(id), false) => query.filter(uploads::id.lt(id)).order(uploads::id.desc()),
        (None, _) => query.order(uploads::id.desc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |upload| vec![upload.id.to_string()]))
}

/// How many uploads are in each state, of one kind or of all.
pub async fn count_by_state(
    conn: &mut AsyncPgConnection,
    kind: Option<UploadKind>,
) -> QueryResult<Vec<(UploadState, i64)>> {
    let mut query = uploads::table
        .group_by(uploads::state)
        .select((uploads::state, diesel::dsl::count_star()))
        .into_boxed();
    if let Some(kind) = kind {
        query = query.filter(uploads::kind.eq(kind));
    }
    query.load(conn).await
}

/// The newest upload whose id ends so: people see only an id's end.
pub async fn find_by_ending(conn: &mut AsyncPgConnection, ending: &str) -> QueryResult<Option<UploadId>> {
    let ends_so =
        diesel::dsl::sql::<diesel::sql_types::Bool>("right(id::text, 8) = ").bind::<Text, _>(ending);
    uploads::table.filter(ends_so).order(uploads::id.desc()).select(uploads::id).first(conn).await.optional()
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = Uuid)]
    id: UploadId,
}

/// The upload that a run is a step of: that of the nearest run above it (or itself) which is the root of
/// an upload.
pub async fn find_upload_of_run(conn: &mut AsyncPgConnection, run: RunId) -> QueryResult<Option<Upload>> {
    let row: Option<IdRow> = diesel::sql_query(
        "WITH RECURSIVE above AS (
             SELECT id, parent_id, 0 AS height FROM runs WHERE id = $1
             UNION ALL
             SELECT r.id, r.parent_id, height + 1 FROM runs r JOIN above a ON r.id = a.parent_id
         )
         SELECT u.id FROM uploads u JOIN above a ON a.id = u.run_id ORDER BY a.height LIMIT 1",
    )
    .bind::<Uuid, _>(run)
    .get_result(conn)
    .await
    .optional()?;
    match row {
        Some(row) => find_upload(conn, row.id).await,
        None => Ok(None),
    }
}

#[derive(QueryableByName)]
struct CountsRow {
    #[diesel(sql_type = Uuid)]
    upload_id: UploadId,
    #[diesel(sql_type = BigInt)]
    read: i64,
    #[diesel(sql_type = BigInt)]
    inserted: i64,
    #[diesel(sql_type = BigInt)]
    updated: i64,
    #[diesel(sql_type = BigInt)]
    duplicates: i64,
    #[diesel(sql_type = BigInt)]
    conflicts: i64,
    #[diesel(sql_type = BigInt)]
    rejected: i64,
    #[diesel(sql_type = BigInt)]
    chunks: i64,
    #[diesel(sql_type = BigInt)]
    chunks_loaded: i64,
    #[diesel(sql_type = BigInt)]
    checked: i64,
}

/// What became of the records of these uploads so far: the sums over their loaded chunks. Of a chunk
/// that was checked and is not loaded (its upload is to be loaded whole or not at all), only the bad
/// records count, and all as checked. An upload that is not planned yet has no entry.
pub async fn counts(
    conn: &mut AsyncPgConnection,
    ids: &[UploadId],
) -> QueryResult<HashMap<UploadId, UploadCounts>> {
    let rows: Vec<CountsRow> = diesel::sql_query(
        "SELECT upload_id,
                coalesce(sum(CASE WHEN loaded_at IS NULL THEN faults ELSE records END), 0)::bigint AS read,
                sum(inserted)::bigint AS inserted, sum(updated)::bigint AS updated,
                sum(duplicates)::bigint AS duplicates, sum(conflicts)::bigint AS conflicts,
                sum(rejected)::bigint AS rejected,
                count(*) AS chunks, count(loaded_at) AS chunks_loaded,
                coalesce(sum(records) FILTER (WHERE loaded_at IS NULL AND faults IS NOT NULL), 0)::bigint AS checked
         FROM upload_chunks WHERE upload_id = ANY ($1) GROUP BY upload_id",
    )
    .bind::<Array<Uuid>, _>(ids)
    .load(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let counts = UploadCounts {
                read: row.read,
                inserted: row.inserted,
                updated: row.updated,
                duplicates: row.duplicates,
                conflicts: row.conflicts,
                rejected: row.rejected,
                chunks: row.chunks,
                chunks_loaded: row.chunks_loaded,
                checked: row.checked,
            };
            (row.upload_id, counts)
        })
        .collect())
}

/// How many chunks an upload has, and how many records of them the check found that cannot be loaded.
pub async fn faults(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<(i32, i64)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Integer)]
        chunks: i32,
        #[diesel(sql_type = BigInt)]
        faults: i64,
    }
    let row: Row = diesel::sql_query(
        "SELECT count(*)::integer AS chunks, coalesce(sum(faults), 0)::bigint AS faults
         FROM upload_chunks WHERE upload_id = $1",
    )
    .bind::<Uuid, _>(id)
    .get_result(conn)
    .await?;
    Ok((row.chunks, row.faults))
}

/// The first and the last time of the rows that an upload brought.
pub async fn bounds(
    conn: &mut AsyncPgConnection,
    id: UploadId,
) -> QueryResult<Option<(DateTime<Utc>, DateTime<Utc>)>> {
    let (first, last) = upload_chunks::table
        .filter(upload_chunks::upload_id.eq(id))
        .select((diesel::dsl::min(upload_chunks::first_at), diesel::dsl::max(upload_chunks::last_at)))
        .first(conn)
        .await?;
    Ok(Option::zip(first, last))
}

/// An upload's rejects after line `after`, in the order of the file.
pub async fn rejects(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    after: i64,
    limit: i64,
) -> QueryResult<Vec<Reject>> {
    upload_rejects::table
        .filter(upload_rejects::upload_id.eq(id).and(upload_rejects::line.gt(after)))
        .order(upload_rejects::line)
        .limit(limit)
        .select(Reject::as_select())
        .load(conn)
        .await
}

/// [`rejects`], of those alone that are no records of the header's columns: too many or too few fields,
/// quotes that do not pair, and the like.
pub async fn unshaped_rejects(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    after: i64,
    limit: i64,
) -> QueryResult<Vec<Reject>> {
    upload_rejects::table
        .filter(upload_rejects::upload_id.eq(id).and(upload_rejects::line.gt(after)))
        .filter(upload_rejects::column_name.is_null())
        .order(upload_rejects::line)
        .limit(limit)
        .select(Reject::as_select())
        .load(conn)
        .await
}

/// How many rejects of each code, most first.
pub async fn rejects_by_code(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<Vec<(String, i64)>> {
    upload_rejects::table
        .filter(upload_rejects::upload_id.eq(id))
        .group_by(upload_rejects::code)
        .select((upload_rejects::code, diesel::dsl::count_star()))
        .order((diesel::dsl::count_star().desc(), upload_rejects::code))
        .load(conn)
        .await
}

/// The first rejects of one code.
pub async fn rejects_with_code(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    code: &str,
    limit: i64,
) -> QueryResult<Vec<Reject>> {
    upload_rejects::table
        .filter(upload_rejects::upload_id.eq(id).and(upload_rejects::code.eq(code)))
        .order(upload_rejects::line)
        .limit(limit)
        .select(Reject::as_select())
        .load(conn)
        .await
}

#[derive(QueryableByName)]
struct ErrorRow {
    #[diesel(sql_type = Nullable<Text>)]
    error: Option<String>,
}

/// Why an upload's flow failed: the error of the step below its run that failed first, else the run's
/// own. What else is in the flow, if the upload is part of a larger one, does not count.
pub async fn failure(conn: &mut AsyncPgConnection, run: RunId) -> QueryResult<Option<String>> {
    let row: Option<ErrorRow> = diesel::sql_query(
        "WITH RECURSIVE below AS (
             SELECT $1 AS id, 0 AS depth
             UNION ALL
             SELECT r.id, depth + 1 FROM runs r JOIN below b ON r.parent_id = b.id
         )
         SELECT r.error FROM runs r JOIN below b ON b.id = r.id
         WHERE r.state IN ('failed', 'discarded') AND r.reason IS DISTINCT FROM 'child_failed'
         ORDER BY b.depth = 0, r.finished_at LIMIT 1",
    )
    .bind::<Uuid, _>(run)
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.and_then(|row| row.error))
}

/// An explicit mapping that was used before.
#[derive(Debug, Clone)]
pub struct UsedMapping {
    /// The upload that used it.
    pub upload_id: UploadId,
    /// Its file's name.
    pub filename: String,
    /// The mapping.
    pub mapping: ExplicitMapping,
}

/// The explicit mapping of the newest upload of this kind with this header, if it had one and was not
/// undone.
pub async fn last_mapping(
    conn: &mut AsyncPgConnection,
    kind: UploadKind,
    header: &[String],
) -> QueryResult<Option<UsedMapping>> {
    // A download of rejects has two columns more than the file whose rejects they are, and nameless ones
    // before them if a record had too many fields.
    let own = without_reject_columns(header).unwrap_or(header);
    let known = uploads::header.eq(header).or(uploads::header.eq(own));
    let known = known.or(uploads::header.eq(without_nameless(own)));
    let has_mapping = diesel::dsl::sql::<diesel::sql_types::Bool>("options ? 'mapping'");
    let upload: Option<Upload> = uploads::table
        .filter(uploads::kind.eq(kind).and(known).and(has_mapping).and(uploads::undo_run_id.is_null()))
        .order(uploads::id.desc())
        .select(Upload::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(upload.and_then(|upload| {
        let mapping = upload.read_options().ok()?.form.mapping;
        Some(UsedMapping { upload_id: upload.id, filename: upload.filename, mapping })
    }))
}

/// Uploads that bring the rejects of this one, mended, newest first; at most twenty.
pub async fn corrections(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<Vec<Upload>> {
    uploads::table
        .filter(uploads::corrects.eq(id))
        .order(uploads::id.desc())
        .limit(20)
        .select(Upload::as_select())
        .load(conn)
        .await
}

/// The uploads that this run takes back, or did, besides this one; newest first. One that deletes all transactions
/// took back every upload there was: it names none.
pub async fn undone_together(
    conn: &mut AsyncPgConnection,
    run: RunId,
    but: UploadId,
) -> QueryResult<Vec<Upload>> {
    let of_all = transaction_deletions::table.filter(transaction_deletions::run_id.eq(run));
    uploads::table
        .filter(uploads::undo_run_id.eq(run).and(uploads::id.ne(but)).and(not(exists(of_all))))
        .order(uploads::id.desc())
        .select(Upload::as_select())
        .load(conn)
        .await
}

/// The uploads that this run is to take back and has not yet, newest first.
pub async fn undone_by(conn: &mut AsyncPgConnection, run: RunId) -> QueryResult<Vec<Upload>> {
    uploads::table
        .filter(uploads::undo_run_id.eq(run).and(uploads::state.ne(UploadState::Undone)))
        .order(uploads::id.desc())
        .select(Upload::as_select())
        .load(conn)
        .await
}
