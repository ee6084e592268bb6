//! Loads that wait for an undo: rows of theirs stand in an upload that is being taken back. The step says so in
//! its phase; asked about the upload, so does this.

use super::{model::Upload, queries, undo};
use crate::ids::UploadId;
use diesel::{
    prelude::*,
    sql_types::{Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

const BEFORE: &str = "waiting: rows of it stand in upload ";
const AFTER: &str = ", whose undo has not ended";

/// The phase of a step that waits for the undo of `other`.
pub(super) fn phase(other: UploadId) -> String {
    format!("{BEFORE}{other}{AFTER}")
}

fn read(phase: &str) -> Option<UploadId> {
    phase.strip_prefix(BEFORE)?.strip_suffix(AFTER)?.parse().ok()
}

/// What an upload's load waits for, and what helps, for people; `None` if it does not wait.
pub async fn waiting(conn: &mut AsyncPgConnection, upload: &Upload) -> QueryResult<Option<String>> {
    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        phase: String,
    }
    if upload.finished_at.is_some() {
        return Ok(None);
    }
    // The steps hang below the flow's root, or below what begins them once all are checked.
    let steps: Vec<Step> = diesel::sql_query(
        "SELECT DISTINCT phase FROM runs
         WHERE (parent_id = $1 OR parent_id IN (SELECT id FROM runs WHERE parent_id = $1 AND kind = 'begin_loading'))
           AND finished_at IS NULL AND phase LIKE 'waiting: %'",
    )
    .bind::<Uuid, _>(upload.run_id)
    .load(conn)
    .await?;
    for other in steps.iter().filter_map(|step| read(&step.phase)) {
        // A step that goes on keeps its phase until it says something else.
        let other = queries::find_upload(conn, other).await?.filter(Upload::is_undoing);
        let Some(other) = other else { continue };
        let advice = match undo::standstill(conn, &other).await? {
            Some(why) => format!("That undo stands still. {why} The load goes on when it has ended."),
            None => "The load goes on by itself when it has.".to_owned(),
        };
        return Ok(Some(format!(
            "It waits: rows of it stand in {} ({}), whose undo has not ended. {advice}",
            other.filename, other.id
        )));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_says_what_is_waited_for() {
        let other: UploadId = "01a1f828-3a35-74a3-8cf5-57ada783babe".parse().unwrap();
        assert_eq!(read(&phase(other)), Some(other));
        assert_eq!(read("reading"), None);
    }
}
