//! Service B: transactions as they come, one of them, all of them away, and the socket that tells of each. Its
//! figures are `live_figures`, what it wrote of a transaction `live_shapes`.
//!
//! B knew one currency, and no kinds: what is recorded here is a payment in the installation's currency; what was
//! sold or refunded is shown as negative. Its users were numbers: an id that is one is written as one. B's numbers of
//! rows do not exist here, `id` is the transaction's.

use super::{
    anonymous,
    clients_etl::with_variants,
    fields::{Fields, Reading},
    live_figures,
    live_shapes::{MonitoredTransaction, frame, status_word},
    moment::{End, read_moment},
};
use crate::{
    actions::deletion,
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult, FieldError, Problem},
    params::PathText,
    realtime::{
        subscription::Filter,
        websocket::{self, Dialect},
    },
    routes::live::reading,
};
use axum::{
    Json,
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    clients,
    runs::RunState,
    transactions::{
        TransactionKind, TransactionStatus,
        live::{self, Outcome, Submission},
        parse::{FieldFault, FieldTexts},
        queries,
    },
    uploads::model::UnknownClients,
};
use std::{sync::Arc, time::Duration};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Longest id of a transaction.
const ID_CHARACTERS: usize = 100;
/// Largest amount: B's column.
const MOST: i64 = 2_147_483_647;
/// How long whoever deletes waits for the end: less than a handler may take.
const PATIENCE: Duration = Duration::from_secs(45);

pub(super) fn router() -> OpenApiRouter<AppState> {
    with_variants(
        OpenApiRouter::new()
            .routes(routes!(add_transaction))
            .routes(routes!(show_transaction))
            .routes(routes!(delete_transactions))
            .routes(routes!(monitor_transactions)),
        &[
            ("/api/add-transaction/", "/api/add-transaction"),
            ("/api/get-transaction/{id}", "/api/get-transaction/{id}/"),
            ("/api/delete-transactions/", "/api/delete-transactions"),
            ("/ws/admin/transactions/", "/ws/admin/transactions"),
        ],
        OpenApiRouter::new()
            .route("/api/add-transaction", post(add_transaction))
            .route("/api/get-transaction/{id}/", get(show_transaction))
            .route("/api/delete-transactions", delete(delete_transactions))
            .route("/ws/admin/transactions", get(monitor_transactions)),
    )
    .merge(live_figures::router())
}

/// An error: the fields at fault, each with an array of messages, or `detail`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonitoringRefusal {
    detail: Option<String>,
}

/// A transaction to record. JSON, a form or a multipart form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents what `Fields` reads")]
struct MonitoringRequest {
    /// At most 100 characters; unique.
    #[schema(example = "TRX1")]
    transaction_id: String,
    /// The client, who must be known: a number or a text.
    #[schema(value_type = i64)]
    user: String,
    /// ISO 8601; UTC if it names no zone, now if absent.
    #[schema(example = "2025-12-12T10:30:00Z")]
    created_at: Option<String>,
    /// Whole, as a number or as text; 0 if absent.
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    amount: Option<i64>,
    /// `PENDING` (the default), `SUCCESS` or `FAILED`.
    status: Option<String>,
}

/// It was done.
#[derive(Debug, Serialize, ToSchema)]
struct MonitoringMessage {
    message: &'static str,
}

/// Record a transaction, as clients of service B do.
///
/// 200: it is recorded, with every summary. The same transaction again changes nothing; one that was pending may be
/// sent again with what became of it.
#[utoipa::path(post, path = "/api/add-transaction/", tag = "compat", request_body = MonitoringRequest, responses(
    (status = 200, description = "It is recorded", body = MonitoringMessage),
    (status = 400, description = "Fields are missing or cannot be used, or another transaction has the id",
     body = MonitoringRefusal),
    (status = 503, description = "Too many wait; come again after Retry-After", body = MonitoringRefusal),
))]
async fn add_transaction(
    State(state): State<AppState>,
    fields: Fields,
) -> ApiResult<Json<MonitoringMessage>> {
    let now = state.env.clock.now();
    let (mut sent, is_dated) = read(&state, &fields, now).await?;
    let outcome = match (take_in(&state, &sent).await?, is_dated) {
        (Outcome::Conflict(_), false) => again(&state, &mut sent).await?,
        (outcome, _) => outcome,
    };
    match outcome {
        Outcome::Created | Outcome::Updated | Outcome::Duplicate => {
            Ok(Json(MonitoringMessage { message: "Transaction detail was obtained successfully." }))
        }
        Outcome::Conflict(_) => {
            Err(refused("transaction_id", "transaction with this transaction id already exists."))
        }
        Outcome::Rejected(fault) => Err(faulty(&fault, &sent)),
        Outcome::LeftOut => Err(ApiError::internal("a transaction that came alone was left out")),
    }
}

/// A transaction as it was sent.
struct Sent {
    transaction_id: String,
    user: String,
    occurred_at: String,
    amount: String,
    status: TransactionStatus,
}

/// Reads the fields, and says whether they have a time; 400 with all that is wrong.
async fn read(state: &AppState, fields: &Fields, now: DateTime<Utc>) -> ApiResult<(Sent, bool)> {
    let mut reading = fields.reading();
    let transaction_id = reading.text("transaction_id", ID_CHARACTERS);
    let user = reading.key("user");
    let is_dated = reading.has("created_at");
    let occurred_at = if is_dated { read_time(&mut reading) } else { now };
    let amount = if reading.has("amount") { reading.whole("amount", 0..=MOST) } else { 0 };
    let status = if reading.has("status") { read_status(&mut reading) } else { TransactionStatus::Pending };
    if reading.fails() && !user.is_empty() {
        let mut conn = state.env.pool.get().await?;
        if clients::queries::find_client(&mut conn, &user).await?.is_none() {
            reading.wrong("user", nobody(&user));
        }
    }
    reading.done()?;
    let occurred_at = occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    Ok((Sent { transaction_id, user, occurred_at, amount: amount.to_string(), status }, is_dated))
}

fn read_time(reading: &mut Reading<'_>) -> DateTime<Utc> {
    const FORM: &str = "Datetime has wrong format. Use one of these formats instead: \
                        YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z].";
    let text = reading.text("created_at", usize::MAX);
    read_moment(chrono_tz::UTC, &text, End::First).unwrap_or_else(|| {
        reading.wrong("created_at", FORM);
        DateTime::default()
    })
}

fn read_status(reading: &mut Reading<'_>) -> TransactionStatus {
    let word = reading.text("status", usize::MAX);
    let known = TransactionStatus::ALL.iter().find(|status| status_word(**status) == word);
    known.copied().unwrap_or_else(|| {
        let word: String = word.chars().take(80).collect();
        reading.wrong("status", format!("\"{word}\" is not a valid choice."));
        TransactionStatus::Pending
    })
}

/// What B said of a user whom nobody knows.
fn nobody(user: &str) -> String {
    let user: String = user.chars().take(80).collect();
    format!("Invalid pk \"{user}\" - object does not exist.")
}

fn refused(field: &str, detail: impl Into<String>) -> ApiError {
    ApiError::bad_fields(vec![FieldError { field: field.to_owned(), detail: detail.into() }])
}

/// A fault of a field, under B's name.
fn faulty(fault: &FieldFault, sent: &Sent) -> ApiError {
    let field = match fault.field {
        // An id that nobody can have is nobody's.
        "client_id" => return refused("user", nobody(&sent.user)),
        "occurred_at" => "created_at",
        other => other,
    };
    let separator = if fault.message.starts_with(':') { "" } else { " " };
    refused(field, format!("{field}{separator}{}.", fault.message))
}

/// Has it recorded, together with whatever else comes just now.
async fn take_in(state: &AppState, sent: &Sent) -> ApiResult<Outcome> {
    let texts: FieldTexts<'_> = [
        &sent.transaction_id,
        &sent.user,
        &sent.occurred_at,
        &sent.amount,
        TransactionKind::Payment.as_str(),
        "",
        "",
        sent.status.as_str(),
        "",
        "",
        "",
        "",
        "",
        "",
    ];
    let mut submission = Submission::new(false, UnknownClients::Reject);
    if let Err(fault) = submission.add(&texts, &reading(state)) {
        return Ok(Outcome::Rejected(fault));
    }
    let mut outcomes = live::take_in(&state.env, Arc::new(submission)).await?;
    Ok(outcomes.pop().unwrap_or(Outcome::LeftOut))
}

/// One that names no time and whose id is recorded may be the same, sent again: it is of the time that is recorded.
async fn again(state: &AppState, sent: &mut Sent) -> ApiResult<Outcome> {
    let recorded = {
        let mut conn = state.env.pool.get().await?;
        queries::find_transaction(&mut conn, &sent.transaction_id).await?
    };
    if let Some(recorded) = recorded {
        sent.occurred_at = recorded.occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    }
    take_in(state, sent).await
}

/// What the word of a transaction that is not there is.
const NO_TRANSACTION: &str = "no-such-transaction";

fn no_transaction() -> ApiError {
    let detail = "No Transaction matches the given query.";
    ApiError::new(StatusCode::NOT_FOUND, NO_TRANSACTION, "Not found", detail)
}

/// Whether a problem is that one.
pub(super) fn is_no_transaction(problem: &Problem) -> bool {
    problem.kind.ends_with(NO_TRANSACTION)
}

/// Show a transaction, as clients of service B ask for one.
#[utoipa::path(get, path = "/api/get-transaction/{id}", tag = "compat",
    params(("id" = String, Path, description = "The transaction")), responses(
    (status = 200, description = "The transaction", body = MonitoredTransaction),
    (status = 404, description = "There is no such transaction", body = MonitoringRefusal),
))]
async fn show_transaction(
    State(state): State<AppState>,
    PathText(id): PathText,
) -> ApiResult<Json<MonitoredTransaction>> {
    let mut conn = state.env.pool.get().await?;
    let found = queries::find_transaction(&mut conn, &id).await?;
    Ok(Json(found.ok_or_else(no_transaction)?.into()))
}

/// B's row on the path that it shares with service A's list of a client's transactions; none if that is what is
/// asked for. Without credentials there are only B's rows.
pub(super) async fn show_row(
    state: &AppState,
    principal: &Principal,
    id: &str,
) -> ApiResult<Option<Response>> {
    let mut conn = state.env.pool.get().await?;
    if clients::queries::find_client(&mut conn, id.trim()).await?.is_some() {
        let refusal = (*principal == anonymous()).then(|| ApiError::unauthorized("Send an access token."));
        return refusal.map_or(Ok(None), Err);
    }
    let found = queries::find_transaction(&mut conn, id).await?.ok_or_else(no_transaction)?;
    Ok(Some(Json(MonitoredTransaction::from(found)).into_response()))
}

/// Delete all transactions, as clients of service B do between their tests.
///
/// For administrators, and only where `MILLRACE_ALLOW_DESTRUCTIVE` is `true`; it asks for no confirmation, which B's
/// clients do not know. A run does it, as for `DELETE /api/v1/transactions`, and is waited for.
#[utoipa::path(delete, path = "/api/delete-transactions/", tag = "compat", responses(
    (status = 200, description = "They are deleted", body = MonitoringMessage),
    (status = 202, description = "They are being deleted; `Location` is the run", body = MonitoringMessage),
    (status = 403, description = "The installation does not allow it, or the role does not", body = MonitoringRefusal),
    (status = 409, description = "Uploads are being loaded or undone", body = MonitoringRefusal),
))]
async fn delete_transactions(State(state): State<AppState>, principal: Principal) -> ApiResult<Response> {
    deletion::check_allowed(&state)?;
    let (run, _) =
        deletion::delete_transactions(&state, &principal, "DELETE /api/delete-transactions/").await?;
    let run = deletion::await_end(&state, run, PATIENCE).await?;
    let message = match run.state {
        RunState::Completed => "Deleted all rows from transactions_transaction table",
        state if state.is_terminal() => {
            let ended =
                run.error.unwrap_or_else(|| format!("The run that was to delete them ended {state}."));
            return Err(ApiError::conflict("not-deleted", ended));
        }
        _ => "Deleting all rows from transactions_transaction table",
    };
    let status = if run.state == RunState::Completed { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = [(header::LOCATION, format!("/api/v1/runs/{}", run.id))];
    Ok((status, location, Json(MonitoringMessage { message })).into_response())
}

/// Listen to the transactions as they are recorded, as clients of service B do.
///
/// Each that is new, and each that was pending and is decided, is a text: `{"transaction_id": …, "status": …,
/// "created_at": …, "amount": …, "user": …}`, once, after its commit. Nothing is sent to the server, but for
/// `{"type":"auth","token":"…"}` first by who has no other credentials.
#[utoipa::path(get, path = "/ws/admin/transactions/", tag = "compat", responses(
    (status = 101, description = "The socket is open"),
    (status = 401, description = "The credentials are not good", body = MonitoringRefusal),
    (status = 403, description = "A page of another origin asks", body = MonitoringRefusal),
    (status = 426, description = "It is no WebSocket that was asked for", body = MonitoringRefusal),
))]
async fn monitor_transactions(
    State(state): State<AppState>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> ApiResult<Response> {
    websocket::open(state, headers, upgrade, None, Filter::default(), Dialect::Plain(frame)).await
}

/// An error as B wrote it.
pub(super) fn error(problem: &Problem) -> Value {
    if problem.errors.is_empty() {
        return json!({ "detail": problem.detail });
    }
    let fields = problem.errors.iter().map(|error| (error.field.clone(), json!([error.detail])));
    Value::Object(fields.collect::<Map<_, _>>())
}
