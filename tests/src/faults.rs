//! Faults that the database meets because a test arranged them, by triggers.

use crate::{App, TestDatabase, eventually};
use serde_json::Value;

/// What PostgreSQL says when a table cannot grow, and its SQLSTATE.
pub const DISK_FULL: (&str, &str) = ("could not extend file \"base/1/2\": No space left on device", "53100");

impl TestDatabase {
    /// Has each load of the chunks with this number fail with a message and SQLSTATE, until they are allowed;
    /// a load is tried `attempts` times.
    pub async fn refuse_chunks(&self, number: i32, attempts: i32, (message, state): (&str, &str)) {
        let triggers = format!(
            "CREATE FUNCTION refuse_chunk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION '{message}' USING ERRCODE = '{state}';
             END $$;
             CREATE TRIGGER refuse_chunk BEFORE UPDATE ON upload_chunks FOR EACH ROW WHEN (NEW.chunk = {number})
                 EXECUTE FUNCTION refuse_chunk();
             CREATE FUNCTION try_so_often() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 NEW.max_attempts := {attempts}; RETURN NEW;
             END $$;
             CREATE TRIGGER try_so_often BEFORE INSERT ON runs FOR EACH ROW WHEN (NEW.kind = 'ingest_chunk')
                 EXECUTE FUNCTION try_so_often();"
        );
        self.client.batch_execute(&triggers).await.expect("triggers");
    }

    /// Ends what [`TestDatabase::refuse_chunks`] began.
    pub async fn allow_chunks(&self) {
        let all = "DROP FUNCTION refuse_chunk, try_so_often CASCADE";
        self.client.batch_execute(all).await.expect("the triggers go");
    }

    /// Lets no run of this kind begin.
    pub async fn pause(&self, kind: &str) {
        let pause = "INSERT INTO pauses (target, name, paused_by) VALUES ('kind', $1, 'test')";
        self.client.execute(pause, &[&kind]).await.expect("a pause");
    }

    /// Lifts every pause.
    pub async fn resume(&self) {
        self.client.batch_execute("DELETE FROM pauses").await.expect("no pause");
    }

    /// Waits until at least so many statements of this database wait for a lock.
    pub async fn waiting_for_locks(&self, count: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("statements that wait for a lock", || async {
            (self.one::<i64>(waiting, &[]).await >= count).then_some(())
        })
        .await;
    }
}

impl App {
    /// Loads a file of which the second chunk fails; the upload, which has failed.
    pub async fn load_without_second_chunk(&self, name: &str, content: impl Into<Vec<u8>>) -> Value {
        self.db.refuse_chunks(1, 1, ("not this one", "P0001")).await;
        let failed = self.load(name, content, "").await;
        self.db.allow_chunks().await;
        assert_eq!(failed["state"], "failed", "{failed}");
        failed
    }

    /// Retries an upload and waits until it has finished; the upload.
    pub async fn retry(&self, upload: &Value) -> Value {
        let [run, id] = ["run_id", "id"].map(|name| upload[name].as_str().expect("an id"));
        let (status, answer) = self.post(&format!("/api/v1/runs/{run}/retry")).await;
        assert!(status.is_success(), "{answer}");
        eventually("the rest", || async {
            let upload = self.ended(id).await;
            (upload["state"] == "finished").then_some(upload)
        })
        .await
    }
}
