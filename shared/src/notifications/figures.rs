//! How notifications stand, for the pages: counts, rates, what is planned. None grows with history.

use super::{
    model::{Channel, Delivery, DeliveryState, Notification, NotificationState},
    queries::{DeliveryCount, NotificationFilter},
};
use crate::{
    ids::{DeliveryId, EndpointId, NotificationId, RunId, first_of},
    pagination::{Page, PageRequest},
    schema::{deliveries, notifications},
};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::HashMap;

/// Notifications of a state that are counted; beyond, there are "more".
const CAP: i64 = 10_000;

/// How many notifications are in a state.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct StateCount {
    /// The state.
    #[diesel(sql_type = Text)]
    pub state: NotificationState,
    #[diesel(sql_type = BigInt)]
    counted: i64,
}

impl StateCount {
    /// How many, at most 10,000.
    pub fn count(&self) -> i64 {
        self.counted.min(CAP)
    }

    /// Whether there are more.
    pub fn has_more(&self) -> bool {
        self.counted > CAP
    }
}

/// How many notifications are in each state, of those that the filter's other parts let through.
pub async fn count_by_state(
    conn: &mut AsyncPgConnection,
    filter: &NotificationFilter,
) -> QueryResult<Vec<StateCount>> {
    // States are words of ours: they are written, not bound, so that their partial index serves.
    let lines: Vec<String> = NotificationState::ALL
        .iter()
        .map(|state| {
            format!(
                "SELECT '{state}' AS state, count(*) AS counted FROM (
                     SELECT 1 FROM notifications n WHERE state = '{state}'
                       AND ($1 IS NULL OR client_id = $1) AND ($2 IS NULL OR event = $2)
                       AND ($3 IS NULL OR EXISTS (SELECT 1 FROM deliveries d
                                WHERE d.notification_id = n.id AND d.channel = ANY ($3)))
                     LIMIT {CAP} + 1) AS found"
            )
        })
        .collect();
    let channels = (!filter.channels.is_empty())
        .then(|| filter.channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>());
    diesel::sql_query(lines.join(" UNION ALL "))
        .bind::<Nullable<Text>, _>(&filter.client_id)
        .bind::<Nullable<Text>, _>(&filter.event)
        .bind::<Nullable<Array<Text>>, _>(channels)
        .load(conn)
        .await
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many deliveries failed of those that were made since then, over one channel if it is named.
pub async fn count_failed_since(
    conn: &mut AsyncPgConnection,
    since: DateTime<Utc>,
    channel: Option<Channel>,
) -> QueryResult<i64> {
    let query = diesel::sql_query(
        "SELECT count(*) AS count FROM deliveries WHERE state = 'failed' AND ended_at >= $1 AND ($2 IS NULL OR channel = $2)",
    );
    let query = query.bind::<Timestamptz, _>(since).bind::<Nullable<Text>, _>(channel.map(Channel::as_str));
    query.get_result::<Count>(conn).await.map(|row| row.count)
}

/// How deliveries have ended, or stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accepted.
    pub delivered: i64,
    /// Refused, or given up.
    pub failed: i64,
    /// Accepted or not, nobody knows.
    pub unknown: i64,
    /// On their way.
    pub pending: i64,
    /// Cancelled.
    pub cancelled: i64,
    /// Not wanted.
    pub suppressed: i64,
}

impl Tally {
    /// Adds so many of a state.
    pub fn add(&mut self, state: DeliveryState, count: i64) {
        let field = match state {
            DeliveryState::Delivered => &mut self.delivered,
            DeliveryState::Failed => &mut self.failed,
            DeliveryState::Unknown => &mut self.unknown,
            DeliveryState::Pending => &mut self.pending,
            DeliveryState::Cancelled => &mut self.cancelled,
            DeliveryState::Suppressed => &mut self.suppressed,
        };
        *field += count;
    }

    /// Those that a provider has decided about, or should have.
    pub fn ended(&self) -> i64 {
        self.delivered + self.failed + self.unknown
    }

    /// The sum of those counts that are `meant`.
    pub fn of(counts: &[DeliveryCount], meant: impl Fn(&DeliveryCount) -> bool) -> Self {
        let mut tally = Self::default();
        for count in counts.iter().filter(|count| meant(count)) {
            if let Ok(state) = count.state.parse() {
                tally.add(state, count.count);
            }
        }
        tally
    }
}

/// How the deliveries to endpoints stand that were made since then.
pub async fn endpoint_tallies(
    conn: &mut AsyncPgConnection,
    since: DateTime<Utc>,
) -> QueryResult<HashMap<EndpointId, Tally>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Uuid)]
        endpoint_id: EndpointId,
        #[diesel(sql_type = Text)]
        state: DeliveryState,
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT endpoint_id, state, count(*) AS count FROM deliveries
         WHERE channel = 'webhook' AND id >= $1 AND endpoint_id IS NOT NULL GROUP BY endpoint_id, state",
    )
    .bind::<Uuid, _>(first_of(since))
    .load(conn)
    .await?;
    let mut tallies: HashMap<EndpointId, Tally> = HashMap::new();
    for row in rows {
        tallies.entry(row.endpoint_id).or_default().add(row.state, row.count);
    }
    Ok(tallies)
}

/// When the runs will be begun that wait for their time or their next attempt.
pub async fn planned(
    conn: &mut AsyncPgConnection,
    runs: &[RunId],
) -> QueryResult<HashMap<RunId, DateTime<Utc>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Uuid)]
        id: RunId,
        #[diesel(sql_type = Timestamptz)]
        run_at: DateTime<Utc>,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT id, run_at FROM runs WHERE id = ANY ($1) AND state IN ('scheduled', 'available', 'retryable')",
    )
    .bind::<Array<Uuid>, _>(runs)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.run_at)).collect())
}

/// The titles of notifications.
pub async fn titles(
    conn: &mut AsyncPgConnection,
    ids: &[NotificationId],
) -> QueryResult<HashMap<NotificationId, String>> {
    let rows: Vec<(NotificationId, String)> = notifications::table
        .filter(notifications::id.eq_any(ids))
        .select((notifications::id, notifications::title))
        .load(conn)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Deliveries that the providers of these names have accepted, with their messages, the last made first. The
/// cursor's key is the delivery's id.
pub async fn list_accepted_by(
    conn: &mut AsyncPgConnection,
    providers: &[&str],
    channel: Option<Channel>,
    request: &PageRequest,
) -> QueryResult<Page<(Delivery, Notification)>> {
    let mut query = deliveries::table
        .inner_join(notifications::table.on(notifications::id.eq(deliveries::notification_id)))
        .filter(deliveries::provider.eq_any(providers))
        .filter(deliveries::state.eq(DeliveryState::Delivered))
        .select((Delivery::as_select(), Notification::as_select()))
        .into_boxed();
    if let Some(channel) = channel {
        query = query.filter(deliveries::channel.eq(channel));
    }
    let from: Option<DeliveryId> = request.cursor.as_ref().and_then(|cursor| cursor.single().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(deliveries::id.gt(id)).order(deliveries::id.asc()),
        (Some(id), false) => query.filter(deliveries::id.lt(id)).order(deliveries::id.desc()),
        (None, _) => query.order(deliveries::id.desc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |(delivery, _)| vec![delivery.id.to_string()]))
}
