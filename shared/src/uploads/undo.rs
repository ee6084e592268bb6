//! Taking an upload back, exactly: its rows and keys, what it added to every summary, the statuses it
//! moved, the cash it posted. What was there before it, or came after it, stays as if it had never been;
//! only the stubs of clients remain.
//!
//! Loads hold a shared advisory lock for each upload whose rows they rely on; whoever asks for an undo
//! takes it alone, marks the upload and commits. After that no load relies on it any more. Both lock in the
//! order of the ids.
//!
//! An upload goes after those that rely on it. Two that found rows of each other (one failed half way, the
//! other brought the same file, the first was retried) can only go together, and do if that is asked for.

use super::{
    error::UploadError,
    model::{Upload, UploadKind, UploadState},
    queries,
};
use crate::{
    ids::{RunId, UploadId},
    runs::{self, EnqueueOptions, enqueue},
    schema::uploads,
    transactions::ownership::LIVE,
    uploads::jobs::UndoUpload,
};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Text, Uuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use tokio_postgres::Transaction;

/// First half of the advisory locks' keys; the second is a hash of the upload's id.
const LOCKS: i32 = 7241;

/// Keeps these uploads from being undone until the transaction ends. Returns one that is being undone
/// already, if there is one.
pub(crate) async fn hold_off(
    transaction: &Transaction<'_>,
    uploads: &[uuid::Uuid],
) -> Result<Option<uuid::Uuid>, tokio_postgres::Error> {
    if uploads.is_empty() {
        return Ok(None);
    }
    transaction
        .execute(
            "SELECT pg_advisory_xact_lock_shared($1, hashtext(id::text)) FROM unnest($2::uuid[]) AS id",
            &[&LOCKS, &uploads],
        )
        .await?;
    // A statement of its own: it sees what was committed while the locks were waited for.
    let undone = transaction
        .query_opt(
            "SELECT id FROM uploads WHERE id = ANY ($1) AND undo_run_id IS NOT NULL LIMIT 1",
            &[&uploads],
        )
        .await?;
    Ok(undone.map(|row| row.get(0)))
}

/// What an undo of an upload takes back.
#[derive(Debug)]
pub struct Extent {
    /// The uploads that can only go together with it, newest first: they and it found rows of each other.
    pub with: Vec<Upload>,
    /// Why it cannot be undone now, not even together with those; for people.
    pub refusal: Option<String>,
}

impl Extent {
    fn refused(reason: impl Into<String>) -> Self {
        Self { with: Vec::new(), refusal: Some(reason.into()) }
    }
}

/// What an undo of the upload would take back now.
pub async fn extent(conn: &mut AsyncPgConnection, upload: &Upload) -> QueryResult<Extent> {
    if let Some(reason) = refusal_of_itself(upload) {
        return Ok(Extent::refused(reason));
    }
    if let Some(run) = upload.undo_run_id {
        // One that failed or was cancelled, or is so long ago that its run is gone, goes on where it stopped,
        // with all that it was asked for.
        let with = queries::undone_by(conn, run).await?;
        let run = runs::queries::find_run(conn, run).await?;
        let going_on = run.is_some_and(|run| !run.state.is_terminal());
        let with = with.into_iter().filter(|other| other.id != upload.id).collect();
        return Ok(Extent { with, refusal: going_on.then(|| "It is being undone.".to_owned()) });
    }
    let counts = queries::counts(conn, &[upload.id]).await?.remove(&upload.id).unwrap_or_default();
    if counts.inserted + counts.updated == 0 && !relies_on_others(conn, upload.id).await? {
        return Ok(Extent::refused("It added nothing: there is nothing to take back."));
    }
    let with = tied(conn, upload.id).await?;
    let refusal = match with.iter().find_map(refusal_of_tied) {
        Some(reason) => Some(reason),
        None => refusal_by_later(conn, upload.id, &with).await?,
    };
    Ok(Extent { with, refusal })
}

/// Why an upload cannot go, whoever relies on it.
fn refusal_of_itself(upload: &Upload) -> Option<String> {
    if upload.state == UploadState::Undone {
        return Some("It was undone already.".to_owned());
    }
    let kept = match upload.kind {
        UploadKind::Transactions => None,
        UploadKind::Clients => Some(
            "Clients are never deleted, so a file of clients cannot be undone. To correct them, upload another file \
             with their ids and the right values: known clients are updated, and what that file leaves empty stays.",
        ),
        UploadKind::Stocks => Some(
            "Stocks are never deleted, and what they were listed at never changes, so a file of stocks cannot be \
             undone. List what is wrong anew, under another ticker.",
        ),
    };
    if let Some(reason) = kept {
        return Some(reason.to_owned());
    }
    if upload.read_options().is_ok_and(|options| options.dry_run) {
        return Some("It was a dry run: it added nothing.".to_owned());
    }
    if upload.undo_run_id.is_some() {
        return None;
    }
    let ended = [UploadState::Finished, UploadState::Failed, UploadState::Cancelled].contains(&upload.state);
    (!ended).then(|| format!("It is still {}; wait for its end, or cancel it.", upload.state))
}

/// Why one that another is tied to cannot go now.
fn refusal_of_tied(other: &Upload) -> Option<String> {
    let reason = match other.undo_run_id {
        Some(_) => Some("It is being undone; wait for its end.".to_owned()),
        None => refusal_of_itself(other),
    };
    reason.map(|reason| format!("It can only be undone together with {}. {reason}", named(other)))
}

/// Why uploads that are tied to each other cannot go: the later ones outside that rely on them.
async fn refusal_by_later(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    with: &[Upload],
) -> QueryResult<Option<String>> {
    let all: Vec<UploadId> = with.iter().map(|other| other.id).chain([id]).collect();
    let (live, later): (Vec<LaterUpload>, Vec<LaterUpload>) =
        later_uploads(conn, &all).await?.into_iter().partition(|later| later.id.0 == LIVE);
    if let Some(live) = live.as_slice().first() {
        return Ok(Some(format!(
            "{} of its rows were sent live, too, by a program that was told that they are there.",
            live.rows
        )));
    }
    if later.is_empty() {
        return Ok(None);
    }
    let mut names: Vec<String> = later
        .iter()
        .take(3)
        .map(|later| format!("{} of them in {} ({})", later.rows, later.filename, later.id))
        .collect();
    if later.len() > 3 {
        names.push(format!("{} more", later.len() - 3));
    }
    let whose = match with.is_empty() {
        true => "Rows of it".to_owned(),
        false => format!("Rows of it, or of what it can only be undone together with ({}),", list(with)),
    };
    Ok(Some(format!(
        "{whose} stand in later uploads too, which therefore did not bring them: {}. Undo those first.",
        names.join(", ")
    )))
}

fn named(upload: &Upload) -> String {
    format!("{} ({})", upload.filename, upload.id)
}

/// Uploads by their files and ids.
pub fn list(uploads: &[Upload]) -> String {
    uploads.iter().map(named).collect::<Vec<_>>().join(", ")
}

/// Whether rows of its file were found there: an upload that brought nothing else is undone to let go of
/// them, so that those which brought them can be undone.
async fn relies_on_others(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<bool> {
    let relies =
        diesel::dsl::sql::<diesel::sql_types::Bool>("EXISTS (SELECT FROM upload_overlaps WHERE later = ")
            .bind::<Uuid, _>(id)
            .sql(")");
    diesel::select(relies).get_result(conn).await
}

#[derive(QueryableByName)]
struct LaterUpload {
    #[diesel(sql_type = Uuid)]
    id: UploadId,
    #[diesel(sql_type = Text)]
    filename: String,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// The uploads besides these that found rows of these there already, newest first; [`LIVE`] stands for what came
/// live.
async fn later_uploads(conn: &mut AsyncPgConnection, ids: &[UploadId]) -> QueryResult<Vec<LaterUpload>> {
    diesel::sql_query(
        "SELECT o.later AS id, coalesce(u.filename, '') AS filename, sum(o.rows)::bigint AS rows
         FROM upload_overlaps o LEFT JOIN uploads u ON u.id = o.later
         WHERE o.earlier = ANY ($1) AND o.later <> ALL ($1) GROUP BY o.later, u.filename ORDER BY o.later DESC",
    )
    .bind::<Array<Uuid>, _>(ids)
    .load(conn)
    .await
}

#[derive(QueryableByName)]
struct TiedUpload {
    #[diesel(sql_type = Uuid)]
    id: UploadId,
}

/// The uploads that can only be undone together with this one, newest first.
async fn tied(conn: &mut AsyncPgConnection, id: UploadId) -> QueryResult<Vec<Upload>> {
    let ids: Vec<TiedUpload> =
        diesel::sql_query(include_str!("tied.sql")).bind::<Uuid, _>(id).load(conn).await?;
    let ids: Vec<UploadId> = ids.into_iter().map(|tied| tied.id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    uploads::table
        .filter(uploads::id.eq_any(ids))
        .order(uploads::id.desc())
        .select(Upload::as_select())
        .load(conn)
        .await
}

/// Why an undo that was asked for stands still, and how it goes on, for people; `None` while it goes on, and
/// when it is done.
pub async fn standstill(conn: &mut AsyncPgConnection, upload: &Upload) -> QueryResult<Option<String>> {
    let Some(run) = upload.undo_run_id.filter(|_| upload.is_undoing()) else { return Ok(None) };
    let ended = match runs::queries::find_run(conn, run).await? {
        Some(run) if !run.state.is_terminal() => return Ok(None),
        Some(run) => format!("ended {}", run.state),
        None => "is gone".to_owned(),
    };
    let taken =
        |name: &str| upload.undo_report.as_ref().and_then(|report| report[name].as_i64()).unwrap_or_default();
    let how_far = match taken("transactions") + taken("statuses") {
        0 => "Nothing of it is taken back yet",
        _ => "It is undone in part",
    };
    Ok(Some(format!(
        "{how_far}: the run that does it {ended}. Every summary is exact for the rows that are left; what it moved \
         on accounts is reversed at the end of the undo. Undo it again: that goes on where it stopped."
    )))
}

/// Asks for an upload to be undone, `together` with those that can only go with it: marks all of them and adds
/// the run, or says why not. Dying before the commit changes nothing. Ring the `ingest` doorbell after it.
pub async fn request_undo(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    together: bool,
    by: &str,
) -> Result<RunId, UploadError> {
    conn.transaction(async move |conn| {
        let mut locked: Vec<UploadId> = tied(conn, id).await?.iter().map(|other| other.id).collect();
        locked.push(id);
        lock(conn, &mut locked).await?;
        let upload = queries::find_upload(conn, id).await?.ok_or(UploadError::NotFound(id))?;
        let Extent { with, refusal } = extent(conn, &upload).await?;
        if let Some(reason) = refusal {
            return Err(UploadError::NotUndoable(reason));
        }
        // What an undo was asked for before, it may go on with.
        if upload.undo_run_id.is_none() {
            if !with.is_empty() && !together {
                return Err(UploadError::NotUndoable(format!(
                    "It and {} found rows of each other there: they can only be undone together. Ask for that \
                     (together=true, on the command line --together), and hand in again what is to stay.",
                    list(&with)
                )));
            }
            if with.iter().any(|other| !locked.contains(&other.id)) {
                return Err(UploadError::NotUndoable(format!(
                    "Just now another upload found rows of it: it can only be undone together with {}. If that is \
                     meant, ask again.",
                    list(&with)
                )));
            }
        }
        // The oldest, which goes last, stands for all: whichever was asked for, it is the same unique run.
        let ids: Vec<UploadId> = with.iter().map(|other| other.id).chain([id]).collect();
        mark(conn, ids.iter().copied().min().unwrap_or(id), &ids, by).await
    })
    .await
}

/// Waits for the loads that rely on the uploads, and lets no other begin to before the commit.
async fn lock(conn: &mut AsyncPgConnection, ids: &mut [UploadId]) -> QueryResult<()> {
    ids.sort_unstable();
    for id in ids {
        diesel::sql_query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
            .bind::<diesel::sql_types::Integer, _>(LOCKS)
            .bind::<Text, _>(id.to_string())
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Adds the run that takes back all uploads which name it, and has these name it.
async fn mark(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    ids: &[UploadId],
    by: &str,
) -> Result<RunId, UploadError> {
    let run = enqueue(conn, &UndoUpload { upload_id: id }, &EnqueueOptions::by(by)).await?.id;
    diesel::update(uploads::table.filter(uploads::id.eq_any(ids)))
        .set(uploads::undo_run_id.eq(run))
        .execute(conn)
        .await?;
    Ok(run)
}

/// Takes back an upload that was to be loaded whole or not at all, though its flow has not ended: it has failed
/// from here on. Does nothing but say why if another upload found rows of it there meanwhile: those would be
/// gone, and that one thinks them loaded.
pub(super) async fn undo_failed(
    conn: &mut AsyncPgConnection,
    id: UploadId,
    by: &str,
) -> Result<Option<String>, UploadError> {
    conn.transaction(async move |conn| {
        lock(conn, &mut [id]).await?;
        let upload = queries::find_upload(conn, id).await?.ok_or(UploadError::NotFound(id))?;
        if upload.undo_run_id.is_some() {
            return Ok(None);
        }
        if let Some(reason) = refusal_by_later(conn, id, &[]).await? {
            return Ok(Some(reason));
        }
        diesel::update(uploads::table.find(id))
            .set((uploads::state.eq(UploadState::Failed), uploads::finished_at.eq(diesel::dsl::now)))
            .execute(conn)
            .await?;
        mark(conn, id, &[id], by).await.map(|_| None)
    })
    .await
}
