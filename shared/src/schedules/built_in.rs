//! What is on a clock in every installation: a line each. They are rows like the others, made once; what an
//! operator changes stays changed.

use super::{
    error::ScheduleError,
    model::{CatchUp, MissingTime, Overlap},
    queries,
    service::{self, Definition, Pause},
};
use crate::{
    notifications::{Event, model::Channel},
    runs::registry::Kind,
    schema::client_events,
};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;

/// The schedule that generates each day's data.
pub const NIGHTLY: &str = "nightly_data";
/// The schedule that tells clients what they did the day before.
const DAILY: &str = "daily_summaries";
/// Who made them, and who paused what has to be asked for.
const BY: &str = "millrace";

struct BuiltIn {
    name: &'static str,
    description: &'static str,
    cron: &'static str,
    kind: &'static str,
    args: fn() -> serde_json::Value,
    catch_up: CatchUp,
}

const fn hourly(name: &'static str, description: &'static str, cron: &'static str) -> BuiltIn {
    BuiltIn { name, description, cron, kind: name, args: || json!({}), catch_up: CatchUp::Once }
}

static BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: NIGHTLY,
        description: "Generates the transactions of the day before, loads them and refreshes the clients’ totals.",
        cron: "1 0 * * *",
        kind: NIGHTLY,
        args: || json!({ "day": "{{ date_before }}" }),
        catch_up: CatchUp::All,
    },
    BuiltIn {
        name: "verify_summaries",
        description: "Compares every summary with the rows.",
        cron: "41 2 * * *",
        kind: "verify_summaries",
        args: || json!({}),
        catch_up: CatchUp::Once,
    },
    BuiltIn {
        name: "verify_ledger",
        description: "Compares positions, holdings and stocks with the ledger.",
        cron: "11 3 * * *",
        kind: "verify_ledger",
        args: || json!({}),
        catch_up: CatchUp::Once,
    },
    BuiltIn {
        name: DAILY,
        description: "Sends the summaries of the day before to the clients who are told of them.",
        cron: "0 7 * * *",
        kind: "send_daily_summaries",
        args: || json!({ "day": "{{ date_before }}" }),
        catch_up: CatchUp::Once,
    },
    hourly("refresh_client_summary", "Refreshes the clients’ totals of buys and sells.", "7 * * * *"),
    hourly("prune_runs", "Removes old runs, ticks and alerts.", "23 * * * *"),
    hourly("prune_files", "Removes stored files that are no longer needed.", "37 * * * *"),
    hourly("prune_notifications", "Removes old notifications and their attempts.", "44 * * * *"),
    hourly("prune_redis", "Removes what messages have left in Redis.", "52 * * * *"),
];

/// Ticks of the nightly data that are caught up: after a week without a scheduler no day is missing.
const NIGHTS: i32 = 7;

/// Clients are told of their days, unless somebody has decided otherwise.
async fn send_summaries_by_email(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    diesel::insert_into(client_events::table)
        .values((
            client_events::event.eq(Event::DailySummary),
            client_events::channels.eq(vec![Channel::Email]),
            client_events::updated_by.eq(BY),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await
        .map(drop)
}

/// Makes those that are not there. `nightly` says whether data is generated each night: true fires it from now
/// on (unless somebody has paused it), otherwise it is there and paused. Clients are told of such days by e-mail from
/// the beginning; in an installation of its own data somebody has to ask for that.
pub async fn ensure(
    conn: &mut AsyncPgConnection,
    kinds: &[Kind],
    zone: Tz,
    nightly: bool,
) -> Result<(), ScheduleError> {
    let now = queries::now(conn).await?;
    // A set of kinds of its own, as tests have, knows only some of them.
    for built_in in BUILT_IN.iter().filter(|one| kinds.iter().any(|kind| kind.name == one.kind)) {
        let waits = built_in.name == NIGHTLY && !nightly;
        let definition = Definition {
            name: built_in.name.to_owned(),
            description: Some(built_in.description.to_owned()),
            cron: built_in.cron.to_owned(),
            zone: zone.name().to_owned(),
            kind: built_in.kind.to_owned(),
            args: (built_in.args)(),
            priority: None,
            missing: MissingTime::Shift,
            repeated: None,
            catch_up: built_in.catch_up,
            catch_up_limit: if built_in.catch_up == CatchUp::All { NIGHTS } else { 1 },
            overlap: if built_in.catch_up == CatchUp::All { Overlap::Queue } else { Overlap::Skip },
        };
        let reason = "Generated data is asked for: enable this schedule, or set MILLRACE_NIGHTLY=true.";
        let pause = waits.then(|| Pause { until: None, reason: Some(reason.to_owned()), by: BY.to_owned() });
        let checked = definition.check(kinds, now)?;
        // One commit: what clients are told of is decided once, with the schedule, and is the operator's from then on.
        conn.transaction::<_, ScheduleError, _>(async |conn| {
            let made = service::insert(conn, &checked, pause.as_ref(), true, BY).await?;
            if made.is_some() && built_in.name == DAILY && nightly {
                send_summaries_by_email(conn).await?;
            }
            Ok(())
        })
        .await?;
    }
    if nightly
        && let Some(schedule) = queries::find(conn, NIGHTLY).await?
        && schedule.paused_by.as_deref() == Some(BY)
    {
        service::enable(conn, NIGHTLY).await?;
    }
    Ok(())
}
