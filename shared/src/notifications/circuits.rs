//! Circuit breakers: a provider that fails again and again is left alone, and then tried by one message
//! before all the others. Stored, so that every worker, and the operator, sees the same; read at most once a
//! second by each process, so that a delivery costs no look of its own.

use super::{
    model::{Channel, Circuit, CircuitState, Forced},
    queries,
};
use crate::{
    audit,
    db::{DbError, DbPool},
    schema::circuits,
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Double, Text, Timestamptz},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Failures in a row that open it.
const THRESHOLD: i32 = 5;
/// How long it stays open the first time; each further time twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest that it stays open.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long the message that tries it may take before another may.
const PROBE: Duration = Duration::from_secs(60);
/// A provider that asked to be left alone and did not say for how long is left alone so long.
const UNSAID_HOLD: Duration = Duration::from_secs(10);
/// The longest that one is left alone because it asked for it.
const LONGEST_HOLD: Duration = Duration::from_secs(3600);
/// How old what a process knows may be.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// While an operator holds it open, those who wait look again after this.
const FORCED_LOOK: Duration = Duration::from_secs(60);

/// What an attempt says of its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// It answers.
    Works,
    /// It does not, or cannot do its work.
    Fails(String),
    /// It asked to be left alone.
    Holds(Option<Duration>, String),
}

/// Whether a message may be given to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Pass,
    /// Not now; and when to ask again.
    Wait(Duration),
}

fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(1))
}

impl Circuit {
    /// One that has never failed.
    pub fn fresh(name: &str, now: DateTime<Utc>) -> Self {
        Self {
            name: name.to_owned(),
            failures: 0,
            openings: 0,
            state: CircuitState::Closed,
            forced: None,
            probe_at: None,
            hold_until: None,
            changed_at: now,
            changed_by: None,
            last_error: None,
        }
    }

    /// Whether a message that works would change it.
    pub fn is_troubled(&self) -> bool {
        self.failures > 0
            || self.openings > 0
            || self.state != CircuitState::Closed
            || self.hold_until.is_some()
    }

    /// What an attempt's end makes of it. One that an operator holds closed counts and never opens.
    pub fn after(&mut self, sign: &Sign, now: DateTime<Utc>) {
        match sign {
            Sign::Works => {
                self.failures = 0;
                self.openings = 0;
                self.hold_until = None;
                self.enter(CircuitState::Closed, None, now);
            }
            Sign::Fails(error) => {
                self.failures = self.failures.saturating_add(1);
                self.last_error = Some(error.clone());
                let opens = match self.state {
                    CircuitState::Closed => self.failures >= THRESHOLD && self.forced != Some(Forced::Closed),
                    CircuitState::HalfOpen => true,
                    // Those that were on their way when it opened.
                    CircuitState::Open => false,
                };
                if opens {
                    let pause = FIRST_PAUSE * 2u32.saturating_pow(self.openings.clamp(0, 10).unsigned_abs());
                    self.openings = self.openings.saturating_add(1);
                    self.enter(CircuitState::Open, Some(later(now, pause.min(LONGEST_PAUSE))), now);
                }
            }
            Sign::Holds(wait, error) => {
                let wait = wait.unwrap_or(UNSAID_HOLD).min(LONGEST_HOLD);
                self.hold_until = self.hold_until.max(Some(later(now, wait)));
                self.last_error = Some(error.clone());
                if self.state == CircuitState::HalfOpen {
                    // It answers, if only to say so.
                    self.enter(CircuitState::Closed, None, now);
                }
            }
        }
    }

    fn enter(&mut self, state: CircuitState, probe_at: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        if self.state != state {
            self.changed_at = now;
            self.changed_by = None;
        }
        self.state = state;
        self.probe_at = probe_at;
    }

    /// Whether a message may pass without trying it first; `None`: somebody may try it now.
    fn admits(&self, now: DateTime<Utc>) -> Option<Admission> {
        let until = |time: DateTime<Utc>| {
            Admission::Wait((time - now).to_std().unwrap_or_default().max(Duration::from_millis(100)))
        };
        match (self.forced, self.state) {
            (Some(Forced::Open), _) => return Some(Admission::Wait(FORCED_LOOK)),
            (Some(Forced::Closed), _) => return Some(Admission::Pass),
            _ => {}
        }
        if let Some(hold) = self.hold_until.filter(|hold| *hold > now) {
            return Some(until(hold));
        }
        match (self.state, self.probe_at) {
            (CircuitState::Closed, _) => Some(Admission::Pass),
            (_, Some(probe)) if probe > now => Some(until(probe)),
            _ => None,
        }
    }
}

/// What a process knows of the circuits that are not simply closed.
#[derive(Default)]
pub struct Circuits(Mutex<Known>);

#[derive(Default)]
struct Known {
    rows: HashMap<String, Circuit>,
    read_at: Option<Instant>,
}

impl Circuits {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is known of it would be changed by a message that works.
    pub fn is_troubled(&self, name: &str) -> bool {
        self.known().rows.get(name).is_some_and(Circuit::is_troubled)
    }

    /// Takes over what has just been written.
    pub fn learn(&self, circuits: Vec<Circuit>) {
        let mut known = self.known();
        known.rows.extend(circuits.into_iter().map(|circuit| (circuit.name.clone(), circuit)));
    }

    /// Whether a message may be given to a provider now. Whoever is let through an open circuit tries it, alone.
    pub async fn admit(&self, pool: &DbPool, name: &str, now: DateTime<Utc>) -> Result<Admission, DbError> {
        let stale = {
            let mut known = self.known();
            let stale = known.read_at.is_none_or(|at| at.elapsed() > KNOWN_FOR);
            if stale {
                // Others go by what is known meanwhile.
                known.read_at = Some(Instant::now());
            }
            stale
        };
        if stale {
            let troubled = list(&mut *pool.get().await?).await?;
            self.known().rows = troubled.into_iter().map(|circuit| (circuit.name.clone(), circuit)).collect();
        }
        let admission =
            self.known().rows.get(name).map_or(Some(Admission::Pass), |circuit| circuit.admits(now));
        match admission {
            Some(admission) => Ok(admission),
            None if try_probe(&mut *pool.get().await?, name, later(now, PROBE)).await? => Ok(Admission::Pass),
            None => Ok(Admission::Wait(KNOWN_FOR)),
        }
    }
}

/// Makes the caller the one who tries an open circuit, unless somebody else is. Dying with it costs the others
/// the time that a trial may take.
async fn try_probe(conn: &mut AsyncPgConnection, name: &str, until: DateTime<Utc>) -> QueryResult<bool> {
    let tried = diesel::sql_query(
        "UPDATE circuits SET state = 'half_open', probe_at = $2, changed_at = now(), changed_by = NULL
         WHERE name = $1 AND state <> 'closed' AND probe_at <= now() AND forced IS NULL",
    )
    .bind::<Text, _>(name)
    .bind::<Timestamptz, _>(until)
    .execute(conn)
    .await?;
    Ok(tried > 0)
}

/// Circuits that have something to say, by name.
pub async fn list(conn: &mut AsyncPgConnection) -> QueryResult<Vec<Circuit>> {
    circuits::table.order(circuits::name).select(Circuit::as_select()).load(conn).await
}

/// A circuit.
pub async fn find(conn: &mut AsyncPgConnection, name: &str) -> QueryResult<Option<Circuit>> {
    circuits::table.find(name).select(Circuit::as_select()).first(conn).await.optional()
}

/// When it is a message's turn, where a provider takes only `per_second`; up to a second's worth at once. The
/// turn is taken: who does not use it leaves it unused.
pub async fn take_turn(
    conn: &mut AsyncPgConnection,
    name: &str,
    per_second: f64,
) -> QueryResult<DateTime<Utc>> {
    #[derive(QueryableByName)]
    struct Turn {
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
    }
    let turn: Turn = diesel::sql_query(
        "INSERT INTO circuits AS c (name, next_permit)
         VALUES ($1, clock_timestamp() - interval '1 second' + $2 * interval '1 second')
         ON CONFLICT (name) DO UPDATE SET next_permit =
             greatest(c.next_permit, clock_timestamp() - interval '1 second') + $2 * interval '1 second'
         RETURNING next_permit AS at",
    )
    .bind::<Text, _>(name)
    .bind::<Double, _>(1.0 / per_second)
    .get_result(conn)
    .await?;
    Ok(turn.at)
}

/// Decides about a circuit, on behalf of an operator: held open, held closed, or left to itself again (then it is
/// closed, with nothing against it).
pub async fn force(
    conn: &mut AsyncPgConnection,
    name: &str,
    forced: Option<Forced>,
    by: &str,
    now: DateTime<Utc>,
) -> QueryResult<Circuit> {
    conn.transaction(async |conn| {
        diesel::insert_into(circuits::table)
            .values(circuits::name.eq(name))
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
        let fresh = Circuit::fresh(name, now);
        let circuit = diesel::update(circuits::table.find(name))
            .set((
                circuits::forced.eq(forced),
                circuits::state.eq(fresh.state),
                circuits::probe_at.eq(fresh.probe_at),
                circuits::hold_until.eq(fresh.hold_until),
                circuits::failures.eq(fresh.failures),
                circuits::openings.eq(fresh.openings),
                circuits::changed_at.eq(now),
                circuits::changed_by.eq(by),
            ))
            .returning(Circuit::as_returning())
            .get_result(conn)
            .await?;
        if forced != Some(Forced::Open)
            && let Some((channel, of)) = name.split_once('/')
            && let Ok(channel) = channel.parse::<Channel>()
        {
            queries::hurry(conn, channel, of.parse().ok()).await?;
        }
        let details = serde_json::json!({ "forced": forced });
        audit::record(conn, by, "circuit.force", name, &details).await?;
        Ok(circuit)
    })
    .await
}

/// Deliveries that wait, by channel.
pub async fn waiting(conn: &mut AsyncPgConnection) -> QueryResult<Vec<(String, i64)>> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = Text)]
        channel: String,
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let counts: Vec<Count> = diesel::sql_query(
        "SELECT channel, count(*) AS count FROM deliveries WHERE state = 'pending' GROUP BY channel",
    )
    .load(conn)
    .await?;
    Ok(counts.into_iter().map(|row| (row.channel, row.count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails() -> Sign {
        Sign::Fails("refused".to_owned())
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_one_success_closes_it() {
        let now = DateTime::UNIX_EPOCH;
        let mut circuit = Circuit::fresh("sms/x", now);
        (0..4).for_each(|_| circuit.after(&fails(), now));
        circuit.after(&Sign::Works, now);
        (0..4).for_each(|_| circuit.after(&fails(), now));
        assert_eq!(circuit.admits(now), Some(Admission::Pass));
        circuit.after(&fails(), now);
        assert_eq!(circuit.admits(now), Some(Admission::Wait(FIRST_PAUSE)));
        let then = later(now, FIRST_PAUSE);
        assert_eq!(circuit.admits(then), None, "somebody may try it");
        // The trial fails: twice as long.
        circuit.state = CircuitState::HalfOpen;
        circuit.after(&fails(), then);
        assert_eq!(circuit.admits(then), Some(Admission::Wait(FIRST_PAUSE * 2)));
        circuit.after(&Sign::Works, then);
        assert!(!circuit.is_troubled());
    }

    #[test]
    fn what_was_on_its_way_when_it_opened_does_not_open_it_again() {
        let now = DateTime::UNIX_EPOCH;
        let mut circuit = Circuit::fresh("sms/x", now);
        (0..30).for_each(|_| circuit.after(&fails(), now));
        assert_eq!((circuit.openings, circuit.failures), (1, 30));
        assert_eq!(circuit.probe_at, Some(later(now, FIRST_PAUSE)));
    }

    #[test]
    fn one_that_asks_to_be_left_alone_is_and_has_not_failed() {
        let now = DateTime::UNIX_EPOCH;
        let mut circuit = Circuit::fresh("sms/x", now);
        let hold = |seconds| Sign::Holds(Some(Duration::from_secs(seconds)), "429".to_owned());
        circuit.after(&hold(120), now);
        circuit.after(&hold(60), now);
        assert_eq!(circuit.admits(now), Some(Admission::Wait(Duration::from_secs(120))));
        assert_eq!(circuit.failures, 0);
        assert_eq!(circuit.admits(later(now, Duration::from_secs(120))), Some(Admission::Pass));
    }

    #[test]
    fn an_operator_decides() {
        let now = DateTime::UNIX_EPOCH;
        let mut circuit = Circuit { forced: Some(Forced::Open), ..Circuit::fresh("sms/x", now) };
        assert!(matches!(circuit.admits(now), Some(Admission::Wait(_))));
        circuit.forced = Some(Forced::Closed);
        (0..20).for_each(|_| circuit.after(&fails(), now));
        assert_eq!((circuit.admits(now), circuit.state), (Some(Admission::Pass), CircuitState::Closed));
    }
}
