//! Webhook endpoints: registered, changed, tried, their secrets rotated.

use super::notifications::created;
use crate::{
    actions::notifications as actions,
    app::AppState,
    auth::Principal,
    error::ApiResult,
    list::Listing,
    params::{Json, JsonOrNothing, NoQuery, PathId},
    views::{
        endpoints::{EndpointSecretView, EndpointView, SecretView},
        notifications::OneNotificationView,
        words,
    },
};
use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    ids::EndpointId,
    notifications::{
        Event, NotificationError,
        endpoints::{self, EndpointPatch, NewEndpoint, OVERLAP_HOURS},
        model::Endpoint,
    },
};
use utoipa::ToSchema;

async fn find(conn: &mut AsyncPgConnection, id: EndpointId) -> ApiResult<Endpoint> {
    Ok(endpoints::find(conn, id).await?.ok_or(NotificationError::NoEndpoint(id))?)
}

/// List webhook endpoints, the last registered first.
#[utoipa::path(get, path = "/api/v1/webhook-endpoints", tag = "notifications", responses(
    (status = 200, description = "At most 1,000 of them; there are no pages", body = Listing<EndpointView>),
))]
pub async fn list_endpoints(
    State(state): State<AppState>,
    _: NoQuery,
) -> ApiResult<Answer<Listing<EndpointView>>> {
    let found = endpoints::list(&mut *state.env.pool.get().await?).await?;
    Ok(Answer(Listing::whole(found.into_iter().map(EndpointView::from).collect())))
}

/// Show a webhook endpoint.
#[utoipa::path(get, path = "/api/v1/webhook-endpoints/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path, description = "The endpoint")), responses(
    (status = 200, description = "The endpoint", body = EndpointView),
    (status = 404, description = "There is no such endpoint"),
))]
pub async fn show_endpoint(
    State(state): State<AppState>,
    PathId(id): PathId<EndpointId>,
    _: NoQuery,
) -> ApiResult<Answer<EndpointView>> {
    Ok(Answer(find(&mut *state.env.pool.get().await?, id).await?.into()))
}

/// Show the secret that an endpoint's messages are signed with.
#[utoipa::path(get, path = "/api/v1/webhook-endpoints/{id}/secret", tag = "notifications",
    params(("id" = uuid::Uuid, Path, description = "The endpoint")), responses(
    (status = 200, description = "The secret, and the previous one while it holds", body = SecretView),
    (status = 404, description = "There is no such endpoint"),
))]
pub async fn show_secret(
    State(state): State<AppState>,
    PathId(id): PathId<EndpointId>,
    _: NoQuery,
) -> ApiResult<Response> {
    let endpoint = find(&mut *state.env.pool.get().await?, id).await?;
    let view = SecretView::new(endpoint, state.env.clock.now());
    Ok(([(header::CACHE_CONTROL, "no-store")], Answer(view)).into_response())
}

/// An endpoint to register.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointBody {
    /// Where messages are posted: http or https, a public address.
    #[schema(example = "https://example.org/hooks/millrace")]
    pub url: String,
    /// The client whose events alone it is told of.
    pub client_id: Option<String>,
    /// What people call it.
    #[serde(default)]
    pub description: String,
    /// The events that it is told of; none: only what is sent to it.
    #[serde(default)]
    #[schema(schema_with = words::events)]
    pub events: Vec<Event>,
}

/// Register a webhook endpoint.
///
/// The answer holds the secret that signs its messages, by the Standard Webhooks specification.
#[utoipa::path(post, path = "/api/v1/webhook-endpoints", tag = "notifications", request_body = EndpointBody,
    responses(
    (status = 201, description = "The endpoint and its secret", body = EndpointSecretView, headers(
        ("Location" = String, description = "The endpoint"))),
    (status = 409, description = "There is an endpoint of this URL already"),
    (status = 422, description = "A field cannot be used, or there is no such client"),
))]
pub async fn register_endpoint(
    State(state): State<AppState>,
    principal: Principal,
    _: NoQuery,
    Json(body): Json<EndpointBody>,
) -> ApiResult<Response> {
    let EndpointBody { url, client_id, description, events } = body;
    let new = NewEndpoint { url, client_id, description, events };
    let conn = &mut *state.env.pool.get().await?;
    let endpoint = endpoints::register(conn, &state.env.notifications, &new, &principal.name).await?;
    let location = format!("/api/v1/webhook-endpoints/{}", endpoint.id);
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::CREATED, headers, Answer(EndpointSecretView::from(endpoint))).into_response())
}

/// What is to change of an endpoint; what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointChange {
    /// Where messages are posted.
    pub url: Option<String>,
    /// What people call it.
    pub description: Option<String>,
    /// The events that it is told of.
    #[schema(schema_with = words::events)]
    pub events: Option<Vec<Event>>,
    /// Whether anything is sent to it. Enabled again, its circuit is closed.
    pub enabled: Option<bool>,
}

/// Change a webhook endpoint.
#[utoipa::path(patch, path = "/api/v1/webhook-endpoints/{id}", tag = "notifications", request_body = EndpointChange,
    params(("id" = uuid::Uuid, Path, description = "The endpoint")), responses(
    (status = 200, description = "The endpoint", body = EndpointView),
    (status = 404, description = "There is no such endpoint"),
    (status = 409, description = "There is another endpoint of this URL"),
    (status = 422, description = "A field cannot be used"),
))]
pub async fn change_endpoint(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<EndpointId>,
    _: NoQuery,
    Json(body): Json<EndpointChange>,
) -> ApiResult<Answer<EndpointView>> {
    let EndpointChange { url, description, events, enabled } = body;
    let patch = EndpointPatch { url, description, events, enabled };
    let conn = &mut *state.env.pool.get().await?;
    let endpoint = endpoints::change(conn, &state.env.notifications, id, &patch, &principal.name).await?;
    Ok(Answer(endpoint.into()))
}

/// Remove a webhook endpoint; what is still to be sent to it fails.
#[utoipa::path(delete, path = "/api/v1/webhook-endpoints/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path, description = "The endpoint")), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is no such endpoint"),
))]
pub async fn remove_endpoint(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<EndpointId>,
    _: NoQuery,
) -> ApiResult<StatusCode> {
    endpoints::remove(&mut *state.env.pool.get().await?, id, &principal.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How long the previous secret signs too.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotationBody {
    /// Hours, at most 720; 24 if absent, 0 for not at all.
    #[schema(maximum = 720, default = 24)]
    pub overlap_hours: Option<u32>,
}

/// Give a webhook endpoint a fresh secret.
///
/// The one that it had signs too for a while, so that the receiver can take over the new one without missing a
/// message.
#[utoipa::path(post, path = "/api/v1/webhook-endpoints/{id}/rotate-secret", tag = "notifications",
    request_body = Option<RotationBody>, params(("id" = uuid::Uuid, Path, description = "The endpoint")), responses(
    (status = 200, description = "The endpoint and its secret", body = EndpointSecretView),
    (status = 404, description = "There is no such endpoint"),
    (status = 409, description = "The secret before the present one still signs, and this would end it"),
    (status = 422, description = "`overlap_hours` cannot be used"),
))]
pub async fn rotate_secret(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<EndpointId>,
    _: NoQuery,
    JsonOrNothing(body): JsonOrNothing<RotationBody>,
) -> ApiResult<Response> {
    let hours = body.overlap_hours.unwrap_or(OVERLAP_HOURS);
    let conn = &mut *state.env.pool.get().await?;
    let endpoint = endpoints::rotate_secret(conn, id, hours, &principal.name).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Answer(EndpointSecretView::from(endpoint))).into_response())
}

/// Send a webhook endpoint a test event.
#[utoipa::path(post, path = "/api/v1/webhook-endpoints/{id}/test", tag = "notifications",
    params(("id" = uuid::Uuid, Path, description = "The endpoint")), responses(
    (status = 201, description = "The notification that is on its way", body = OneNotificationView, headers(
        ("Location" = String, description = "The notification"))),
    (status = 404, description = "There is no such endpoint"),
    (status = 422, description = "The endpoint is disabled, or the channel webhook is off"),
))]
pub async fn test_endpoint(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<EndpointId>,
    _: NoQuery,
) -> ApiResult<Response> {
    let accepted = actions::test_endpoint(&state, &principal, id).await?;
    created(&mut *state.env.pool.get().await?, accepted).await
}
