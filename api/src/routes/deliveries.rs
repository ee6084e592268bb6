//! Deliveries: how they stand, sending them again, deciding about those of which nobody knows.

use super::notifications::with_attempts;
use crate::{
    actions::notifications::{self as actions, MOST_NAMED, find_delivery},
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{FromParams, Json, ListParams, ListQuery, NoQuery, PageParams, Params, PathId, read_instant},
    views::{
        notifications::{DeliveryView, OneDeliveryView},
        words,
    },
};
use axum::{Json as Answer, extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    ids::{DeliveryId, EndpointId},
    notifications::{
        model::{Channel, Delivery, DeliveryState},
        queries::{self, DeliveryFilter},
        service,
    },
    pagination::{Cursor, InvalidCursor},
};
use utoipa::{IntoParams, ToSchema};

/// What a list of deliveries is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveryParams {
    /// Only in these states.
    #[param(schema_with = words::delivery_states)]
    state: Vec<DeliveryState>,
    /// Only over these channels.
    #[param(schema_with = words::channels)]
    channel: Vec<Channel>,
    /// Only for this client.
    client_id: Option<String>,
    /// Only those that were tried with this provider last.
    provider: Option<String>,
    /// Only to this endpoint.
    #[param(value_type = Option<uuid::Uuid>)]
    endpoint_id: Option<EndpointId>,
    /// Not made before: a day in the reporting zone, or an instant.
    #[param(value_type = Option<String>, example = "2026-01-01")]
    from: Option<DateTime<Utc>>,
}

impl FromParams for DeliveryParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            state: params.list("state")?,
            channel: params.list("channel")?,
            client_id: params.text("client_id")?,
            provider: params.text("provider")?,
            endpoint_id: params.parsed("endpoint_id")?,
            from: params.from("from")?,
        })
    }
}

impl ListParams for DeliveryParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<DeliveryId>().map(drop)
    }
}

/// List deliveries, the last made first.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "notifications", params(DeliveryParams, PageParams),
    responses((status = 200, description = "A page of deliveries", body = Listing<DeliveryView>)))]
pub async fn list_deliveries(
    State(state): State<AppState>,
    query: ListQuery<DeliveryParams>,
) -> ApiResult<Response> {
    let DeliveryParams { state: states, channel: channels, client_id, provider, endpoint_id, from } =
        query.params;
    let filter = DeliveryFilter { states, channels, client_id, provider, endpoint_id, from };
    let mut conn = state.env.pool.get().await?;
    let page = queries::list_deliveries(&mut conn, &filter, &query.page).await?;
    Ok(Listing::of(page, DeliveryView::from).respond(&query.uri))
}

async fn view(state: &AppState, delivery: Delivery) -> ApiResult<Answer<OneDeliveryView>> {
    let conn = &mut *state.env.pool.get().await?;
    let mut views = with_attempts(conn, vec![delivery]).await?;
    views.pop().map(Answer).ok_or_else(|| ApiError::internal("a delivery has no view"))
}

/// Show a delivery with its attempts.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path, description = "The delivery")), responses(
    (status = 200, description = "The delivery", body = OneDeliveryView),
    (status = 404, description = "There is no such delivery"),
))]
pub async fn show_delivery(
    State(state): State<AppState>,
    PathId(id): PathId<DeliveryId>,
    _: NoQuery,
) -> ApiResult<Answer<OneDeliveryView>> {
    let delivery = find_delivery(&mut *state.env.pool.get().await?, id).await?;
    view(&state, delivery).await
}

/// Send a delivery again that failed, was cancelled or is unknown, by a new run.
///
/// Of one that is unknown the recipient may get a second copy.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/replay", tag = "notifications",
    params(("id" = uuid::Uuid, Path, description = "The delivery")), responses(
    (status = 200, description = "The delivery, pending again", body = OneDeliveryView),
    (status = 404, description = "There is no such delivery"),
    (status = 409, description = "It is on its way, was delivered, or is not wanted"),
))]
pub async fn replay_delivery(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<DeliveryId>,
    _: NoQuery,
) -> ApiResult<Answer<OneDeliveryView>> {
    let delivery = actions::replay_one(&state, &principal, id).await?;
    view(&state, delivery).await
}

/// Note that a delivery of which nobody knew was accepted: nothing is sent.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/mark-delivered", tag = "notifications",
    params(("id" = uuid::Uuid, Path, description = "The delivery")), responses(
    (status = 200, description = "The delivery", body = OneDeliveryView),
    (status = 404, description = "There is no such delivery"),
    (status = 409, description = "It is not unknown"),
))]
pub async fn mark_delivered(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<DeliveryId>,
    _: NoQuery,
) -> ApiResult<Answer<OneDeliveryView>> {
    let delivery =
        service::mark_one_delivered(&mut *state.env.pool.get().await?, id, &principal.name).await?;
    view(&state, delivery).await
}

/// Which deliveries were delivered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRequest {
    /// These, at most 1,000; one that is not unknown is passed over.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub ids: Vec<DeliveryId>,
}

/// How many deliveries were noted as delivered.
#[derive(Debug, Serialize, ToSchema)]
pub struct MarkedView {
    /// Deliveries.
    pub marked: usize,
}

/// Note that deliveries of which nobody knew were accepted: nothing is sent.
#[utoipa::path(post, path = "/api/v1/deliveries:mark-delivered", tag = "notifications", request_body = MarkRequest,
    responses(
    (status = 200, description = "How many", body = MarkedView),
    (status = 422, description = "`ids` cannot be used"),
))]
pub async fn mark_deliveries(
    State(state): State<AppState>,
    principal: Principal,
    _: NoQuery,
    Json(body): Json<MarkRequest>,
) -> ApiResult<Answer<MarkedView>> {
    if !(1..=MOST_NAMED).contains(&body.ids.len()) {
        return Err(ApiError::invalid("ids", "Name 1 to 1,000 deliveries."));
    }
    let marked = actions::mark_delivered(&state, &principal, &body.ids).await?;
    Ok(Answer(MarkedView { marked }))
}

/// Which deliveries are to be sent again: those named, or all that failed since a time.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// These, at most 1,000; one that was delivered, or is on its way, is passed over.
    #[schema(value_type = Option<Vec<uuid::Uuid>>)]
    pub ids: Option<Vec<DeliveryId>>,
    /// All that failed since then: a day's beginning in the reporting zone, or an instant. Those that
    /// are unknown are not among them.
    #[schema(example = "2026-11-28")]
    pub failed_since: Option<String>,
    /// Of those that failed, only over this channel.
    #[schema(schema_with = words::channel)]
    pub channel: Option<Channel>,
}

/// How many deliveries are sent again.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayedView {
    /// Deliveries.
    pub replayed: usize,
}

/// Send deliveries again: those named, or all that failed since a time.
#[utoipa::path(post, path = "/api/v1/deliveries:replay", tag = "notifications", request_body = ReplayRequest,
    responses(
    (status = 200, description = "How many", body = ReplayedView),
    (status = 422, description = "Neither or both of `ids` and `failed_since` are given, or cannot be used"),
))]
pub async fn replay_deliveries(
    State(state): State<AppState>,
    principal: Principal,
    _: NoQuery,
    Json(body): Json<ReplayRequest>,
) -> ApiResult<Answer<ReplayedView>> {
    const EITHER: &str = "Say either which deliveries by `ids`, or since when they failed by `failed_since`.";
    let replayed = match (body.ids, body.failed_since) {
        (Some(_), None) if body.channel.is_some() => {
            return Err(ApiError::invalid("channel", "A channel goes with `failed_since`, not with `ids`."));
        }
        (Some(ids), None) if (1..=MOST_NAMED).contains(&ids.len()) => {
            actions::replay_these(&state, &principal, ids).await?
        }
        (Some(_), None) => return Err(ApiError::invalid("ids", "Name 1 to 1,000 deliveries.")),
        (None, Some(since)) => {
            let since = read_instant(state.env.settings.zone, "failed_since", &since)?;
            let since = since.ok_or_else(|| ApiError::invalid("failed_since", EITHER))?;
            actions::replay_failed(&state, &principal, since, body.channel).await?
        }
        (Some(_), Some(_)) | (None, None) => return Err(ApiError::invalid("ids", EITHER)),
    };
    Ok(Answer(ReplayedView { replayed }))
}
