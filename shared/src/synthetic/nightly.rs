//! The nightly flow: the transactions of one day are generated, loaded, and shown in the clients' summary.
//!
//! ```text
//! nightly_data ◄─ nightly_refresh ◄─ nightly_generate
//!                                 ◄─ finish_upload ◄─ plan_upload, ingest_chunk …
//! ```
//! With its end a run begins that sends the day's summaries to the clients who want them; the flow does not wait
//! for it.
//!
//! A day has its transactions once. Their ids are the day and the row's number, so that whatever is generated
//! for it again is there already, as a duplicate or (of another seed or form) a conflict; and a seed's rows
//! are the same however many there are, so that asking for more adds just those. The same bytes again are
//! answered with their upload.

use super::{
    CsvBlocks, DataFormat, Fault, Outgoing, TransactionForm,
    dataset::check_rows,
    jobs::{LONGEST, RETRY, located},
    storing::Order,
    when::Calendar,
};
use crate::{
    clock::Clock,
    notifications::daily::SendDailySummaries,
    runs::{
        EnqueueOptions, Enqueued, Finished, Job, JobError, Queue, Retry, RunContext, RunError, Unique,
        enqueue, enqueue_chain, queries, service::BEHIND,
    },
    summaries::jobs::refresh_within,
    uploads::{
        UploadKind, UploadOptions,
        steps::{report, result_of},
    },
};
use anyhow::anyhow;
use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Rows of a day, unless others are asked for.
pub const DEFAULT_ROWS: u64 = 1_000;
const A_STEP: Option<&str> =
    Some("it is a step of the nightly flow; start that anew with `millrace nightly`");

/// Which day is generated, and how; whatever is absent is at its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NightlyRequest {
    /// The day, in the reporting zone.
    pub day: NaiveDate,
    /// How many transactions, 1 to 100,000,000; 1,000 if absent.
    pub num_rows: Option<u64>,
    /// The same seed gives the same bytes; made from the day if absent.
    pub seed: Option<u64>,
    /// Columns: wide (thirteen, the default), e (five) or a (eleven).
    pub form: Option<TransactionForm>,
}

/// Reports what was generated and loaded, and as of when the clients' summary is; the root of its flow. The
/// arguments are checked where they are read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "NightlyRequest", into = "NightlyRequest")]
pub struct NightlyData(NightlyRequest);

/// Generates the day's transactions and takes them in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "NightlyRequest", into = "NightlyRequest")]
pub struct NightlyGenerate(NightlyRequest);

/// Refreshes the clients' summary once the transactions are loaded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NightlyRefresh {
    /// The day whose transactions were loaded.
    pub day: NaiveDate,
}

impl TryFrom<NightlyRequest> for NightlyData {
    type Error = Fault;

    fn try_from(asked: NightlyRequest) -> Result<Self, Fault> {
        check_rows(asked.num_rows.unwrap_or(DEFAULT_ROWS), DataFormat::Csv)?;
        // A day of 1970 may begin before 1970 does elsewhere.
        if !(1971..=9998).contains(&asked.day.year()) {
            return Err(Fault::new("day", "A day of the years 1971 to 9998, such as 2026-11-26."));
        }
        Ok(Self(asked))
    }
}

impl TryFrom<NightlyRequest> for NightlyGenerate {
    type Error = Fault;

    fn try_from(asked: NightlyRequest) -> Result<Self, Fault> {
        NightlyData::try_from(asked).map(|NightlyData(asked)| Self(asked))
    }
}

impl From<NightlyData> for NightlyRequest {
    fn from(NightlyData(asked): NightlyData) -> Self {
        asked
    }
}

impl From<NightlyGenerate> for NightlyRequest {
    fn from(NightlyGenerate(asked): NightlyGenerate) -> Self {
        asked
    }
}

/// Starts the flow of a day in the caller's transaction. While one of the same day goes on, that one is the
/// answer, whatever it was asked for. Ring the `default` doorbell afterwards.
pub async fn start(
    conn: &mut AsyncPgConnection,
    data: &NightlyData,
    options: &EnqueueOptions,
) -> Result<Enqueued, RunError> {
    let (refresh, generate) = (NightlyRefresh { day: data.0.day }, NightlyGenerate(data.0.clone()));
    enqueue_chain(conn, data, &refresh, &generate, options).await
}

/// The day that is over.
pub fn yesterday(clock: &dyn Clock, zone: Tz) -> NaiveDate {
    let today = today(clock, zone);
    today.pred_opt().unwrap_or(today)
}

/// The day that goes on.
pub fn today(clock: &dyn Clock, zone: Tz) -> NaiveDate {
    clock.now().with_timezone(&zone).date_naive()
}

impl Job for NightlyData {
    const KIND: &'static str = "nightly_data";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> =
        Some("the nightly flow is started with its steps: `millrace nightly`, or POST /api/v1/nightly");
    const RECIPE: bool = true;
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn start<'a>(
        self,
        conn: &'a mut AsyncPgConnection,
        options: &'a EnqueueOptions,
    ) -> BoxFuture<'a, Result<Enqueued, RunError>> {
        Box::pin(async move { start(conn, &self, options).await })
    }

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: self.0.day.to_string(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let conn: &mut AsyncPgConnection = &mut *context.connection().await?;
        let run = queries::find_run(conn, context.run_id).await?.ok_or(RunError::NotFound(context.run_id))?;
        // A night that is filled in later is history, and news to nobody.
        let is_news = run.priority < BEHIND;
        let by = EnqueueOptions::by(run.created_by);
        let mut result = located(report(conn, context.flow_id, NightlyGenerate::KIND).await?);
        let refreshed = result_of(conn, context.flow_id, NightlyRefresh::KIND).await?;
        result["day"] = self.0.day.to_string().into();
        result["summary_refreshed_at"] = refreshed["refreshed_at"].clone();
        // One commit: a night that has ended is told of, and one that has not is not.
        let closed = conn
            .transaction::<_, RunError, _>(async |conn| {
                if is_news {
                    enqueue(conn, &SendDailySummaries { day: self.0.day }, &by).await?;
                }
                context.complete(conn, &result).await
            })
            .await?;
        context.env.doorbells.ring(Queue::Default, 1);
        Ok(closed.into())
    }
}

impl Job for NightlyRefresh {
    const KIND: &'static str = "nightly_refresh";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> = A_STEP;
    const TIMEOUT: Duration = Duration::from_secs(3600);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let conn = &mut *context.connection().await?;
        // The upload has asked for a refresh too, which comes when it comes; this one is there when the flow goes on.
        let closed = conn
            .transaction::<_, RunError, _>(async |conn| {
                let refreshed_at = refresh_within(conn).await?;
                let result = serde_json::json!({ "refreshed_at": refreshed_at });
                context.complete(conn, &result).await
            })
            .await?;
        Ok(closed.into())
    }
}

impl Job for NightlyGenerate {
    const KIND: &'static str = "nightly_generate";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> = A_STEP;
    const TIMEOUT: Duration = LONGEST;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let zone = context.env.settings.zone;
        let day = self.0.day;
        if day > today(context.env.clock.as_ref(), zone) {
            return Err(JobError::fail(anyhow!("{day} has not begun in {zone}: nothing happened on it yet")));
        }
        let blocks = blocks(&self.0, zone)
            .ok_or_else(|| JobError::fail(anyhow!("the clocks of {zone} had no day {day}")))?;
        let order = Order {
            kind: UploadKind::Transactions,
            filename: format!("nightly-{day}.csv"),
            options: UploadOptions::default(),
            rows: blocks.rows(),
        };
        order.load(&context, Outgoing::text(blocks)).await
    }
}

/// The transactions of the day; `None` if the zone had no such day.
fn blocks(asked: &NightlyRequest, zone: Tz) -> Option<CsvBlocks> {
    let number = asked.day.format("%Y%m%d").to_string();
    let seed = asked.seed.or_else(|| number.parse().ok()).unwrap_or_default();
    let form = asked.form.unwrap_or(TransactionForm::Wide);
    let calendar = Calendar::of_day(asked.day, zone)?;
    let rows = asked.num_rows.unwrap_or(DEFAULT_ROWS);
    Some(CsvBlocks::of_day(seed, form, calendar, format!("syn-{number}-"), rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(num_rows: u64, seed: Option<u64>) -> String {
        let day = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
        let asked = NightlyRequest { day, num_rows: Some(num_rows), seed, form: None };
        let mut bytes = Vec::new();
        blocks(&asked, Tz::Europe__Berlin).unwrap().write_to(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_day_has_the_same_rows_however_many_there_are() {
        let few = text(10, None);
        assert!(text(1_000, None).starts_with(&few));
        assert!(few.lines().nth(1).unwrap().starts_with("syn-20261126-000001,c0000"), "{few}");
        assert_eq!(few, text(10, Some(20_261_126)));
        assert_ne!(few, text(10, Some(1)));
    }

    #[test]
    fn arguments_are_checked_where_they_are_read() {
        let read = |args| serde_json::from_value::<NightlyData>(args).map(drop).map_err(|e| e.to_string());
        assert_eq!(read(serde_json::json!({ "day": "2026-11-26" })), Ok(()));
        for (args, said) in [
            (serde_json::json!({}), "day"),
            (serde_json::json!({ "day": "2026-11-26", "num_rows": 0 }), "num_rows: A file has 1 to"),
            (serde_json::json!({ "day": "1969-11-26" }), "day: A day of the years"),
            (serde_json::json!({ "day": "2026-11-26", "form": "b" }), "none of e, wide, a"),
        ] {
            let refused = read(args).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
