//! The one type that turns errors into HTTP: a problem (RFC 9457) for the client, a cause for the log.
//!
//! A handler returns [`ApiError`]; its response carries the [`Problem`] as an extension, and the
//! outermost middleware (`middleware::finish`) writes the body, because only that one knows the request
//! id, the path and whether a browser's page or a program asked.

use axum::{
    extract::multipart::MultipartError,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::{
    auth::AuthError,
    clients::{ClientError, contact::FieldFault},
    db::{DbError, PoolError},
    fx::FxError,
    gather::AskError,
    look::ReadError,
    notifications::NotificationError,
    pagination::InvalidCursor,
    runs::RunError,
    schedules::ScheduleError,
    stocks::{StockError, StockFault},
    synthetic::Fault,
    trades::TradeError,
    transactions::{deletion::DeletionError, live::LiveError},
    uploads::UploadError,
};
use std::sync::Arc;

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field, parameter or header at fault.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub detail: String,
}

/// An error as the client sees it (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// What kind of problem, for programs: `urn:millrace:problem:<word>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind, for people.
    pub title: String,
    /// The HTTP status.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16, example = 404)]
    pub status: StatusCode,
    /// What happened this time, and what to do about it.
    pub detail: String,
    /// The path that was asked for.
    pub instance: Option<String>,
    /// Names the request in the server's log; also in the header `X-Request-Id`.
    pub request_id: Option<String>,
    /// What has to come back with the same request, where it wants to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
    /// The field at fault, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Every field at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// An error on its way out.
#[derive(Debug, Clone)]
pub struct ApiError {
    problem: Problem,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log only.
    cause: Option<Arc<str>>,
}

impl ApiError {
    /// A problem of the kind `word`.
    pub fn new(status: StatusCode, word: &str, title: &str, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: format!("urn:millrace:problem:{word}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            instance: None,
            request_id: None,
            confirm: None,
            field: None,
            errors: Vec::new(),
        };
        Self { problem, headers: Vec::new(), cause: None }
    }

    /// 400: a parameter, header or path that cannot be read.
    pub fn bad_parameter(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-parameter", "Invalid parameter", detail).at(field)
    }

    /// 400: a request that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "Bad request", detail)
    }

    /// 400: fields that are missing or cannot be read, each with what is wrong with it.
    pub fn bad_fields(errors: Vec<FieldError>) -> Self {
        Self::fields(StatusCode::BAD_REQUEST, errors)
    }

    /// 422: fields that can be read but not used, each with what is wrong with it.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        Self::fields(StatusCode::UNPROCESSABLE_ENTITY, errors)
    }

    fn fields(status: StatusCode, errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|error| format!("{}: {}", error.field, error.detail));
        let detail = detail.collect::<Vec<_>>().join(" ");
        let mut made = Self::new(status, "invalid-fields", "Invalid fields", detail);
        made.problem.field = errors.first().map(|error| error.field.clone());
        made.problem.errors = errors;
        made
    }

    /// 422: a field that can be read but not used.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-field", "Invalid field", detail).at(field)
    }

    /// 401, with how to do better.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Authentication needed", detail)
            .with(header::WWW_AUTHENTICATE, "Bearer realm=\"millrace\"")
    }

    /// 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 428: the same request again, with `token` as its `confirm`, does it.
    pub fn unconfirmed(token: String, detail: impl Into<String>) -> Self {
        let status = StatusCode::PRECONDITION_REQUIRED;
        let mut made = Self::new(status, "confirmation-needed", "Confirmation needed", detail);
        made.problem.confirm = Some(token);
        made
    }

    /// 409.
    pub fn conflict(word: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, word, "Conflict", detail)
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }

    /// 500; the cause goes to the log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "Something went wrong on the server. The request id finds the cause in its log.",
        )
        .because(cause)
    }

    /// 507 if the storage is full, else 503; the cause goes to the log.
    pub fn storage(location: &str, error: &shared::storage::StorageError) -> Self {
        let cause = format!("{location}: {error}");
        match shared::storage::is_full(error) {
            None => Self::unavailable("file storage", cause),
            Some(what) => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "insufficient-storage",
                "Insufficient storage",
                format!(
                    "The {what} is full, so the file was not taken in and nothing of it is kept. Ask an operator \
                     to make room, then send it again."
                ),
            )
            .because(cause),
        }
    }

    /// 503; the cause goes to the log.
    pub fn unavailable(what: &str, cause: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Temporarily unavailable",
            format!("The {what} cannot be reached right now. Try again in a few seconds."),
        )
        .with(header::RETRY_AFTER, "5")
        .because(cause)
    }

    /// 503: more is asked for than can be taken in at once.
    pub fn busy(detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too busy", detail.clone())
            .with(header::RETRY_AFTER, "1")
            .because(detail)
    }

    /// Names the field at fault.
    pub fn at(mut self, field: &str) -> Self {
        self.problem.field.get_or_insert_with(|| field.to_owned());
        self.problem.errors.push(FieldError { field: field.to_owned(), detail: self.problem.detail.clone() });
        self
    }

    /// Adds a header.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The status it answers with.
    pub fn status(&self) -> StatusCode {
        self.problem.status
    }

    /// What the client is told.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string().into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.problem.status.is_server_error() {
            let cause = self.cause.as_deref().unwrap_or("unknown");
            tracing::error!(status = self.problem.status.as_u16(), cause, "a request failed: {cause}");
        }
        let mut response = self.problem.status.into_response();
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response.extensions_mut().insert(Arc::new(self.problem));
        response
    }
}

impl From<diesel::result::Error> for ApiError {
    fn from(error: diesel::result::Error) -> Self {
        Self::database(&error)
    }
}

impl ApiError {
    /// 503 if the database cannot be reached, else 500.
    fn of_database(error: &DbError) -> Self {
        match error {
            DbError::Query(error) => Self::database(error),
            other => Self::unavailable("database", other),
        }
    }

    /// 503 if the database went away, else 500.
    fn database(error: &diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind, Error};
        match error {
            Error::DatabaseError(DatabaseErrorKind::ClosedConnection, _)
            | Error::BrokenTransactionManager => Self::unavailable("database", error),
            Error::DatabaseError(_, info)
                if SHUTTING_DOWN.iter().any(|text| info.message().contains(text)) =>
            {
                Self::unavailable("database", error)
            }
            _ => Self::internal(error),
        }
    }
}

/// Messages of a PostgreSQL that is going away, starting up or has no connection left; diesel keeps
/// no SQLSTATE.
const SHUTTING_DOWN: [&str; 5] = [
    "terminating connection",
    "the database system is",
    "too many clients",
    "connection closed",
    "deadlock detected",
];

impl From<PoolError> for ApiError {
    fn from(error: PoolError) -> Self {
        Self::unavailable("database", error)
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        Self::of_database(&error)
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            AskError::Full => Self::busy("Too much is asked at once. Try again in a moment."),
            AskError::Lost => Self::internal("a question was given up"),
            AskError::Failed(error) => Self::of_database(&error),
        }
    }
}

impl From<InvalidCursor> for ApiError {
    fn from(error: InvalidCursor) -> Self {
        Self::bad_parameter("cursor", format!("{error}; leave it out to begin at the start"))
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let text = error.to_string();
        match error {
            AuthError::Invalid { field, reason } => Self::invalid(field, reason),
            AuthError::Taken(detail) => Self::conflict("name-taken", detail),
            AuthError::WrongCredentials => {
                Self::new(StatusCode::UNAUTHORIZED, "wrong-credentials", "Wrong credentials", text)
                    .with(header::WWW_AUTHENTICATE, "Bearer realm=\"millrace\"")
            }
            AuthError::Throttled { retry_after_seconds } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "throttled", "Too many attempts", text)
                    .with(header::RETRY_AFTER, &retry_after_seconds.to_string())
            }
            AuthError::InvalidToken | AuthError::TokenUsed => {
                Self::unauthorized(text).with(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
            }
            AuthError::Crypto(cause) => Self::internal(cause),
            AuthError::Database(error) => error.into(),
        }
    }
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        let text = error.to_string();
        match error {
            ScheduleError::NotFound(name) => Self::not_found(format!("There is no schedule {name:?}.")),
            ScheduleError::Invalid(faults) => Self::invalid_fields(
                faults
                    .into_iter()
                    .map(|fault| FieldError { field: fault.field, detail: fault.message })
                    .collect(),
            ),
            ScheduleError::NameTaken(_) => Self::conflict("name-taken", text).at("name"),
            ScheduleError::Stale(_) => Self::conflict("stale", text).at("version"),
            ScheduleError::BuiltIn(_) => Self::conflict("built-in", text),
            ScheduleError::BeingFilled(..) => Self::conflict("being-filled", text),
            ScheduleError::NoBackfill(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no-backfill", "Nothing to fill in", text)
            }
            ScheduleError::Run(error) => error.into(),
            ScheduleError::Database(error) => error.into(),
        }
    }
}

impl From<RunError> for ApiError {
    fn from(error: RunError) -> Self {
        let text = error.to_string();
        match error {
            RunError::NotFound(_) => Self::not_found(text),
            RunError::Transition(_) => Self::conflict("state-refuses", text),
            RunError::FlowCancelled | RunError::Superseded(_) | RunError::KeyHeld => {
                Self::conflict("superseded", text)
            }
            RunError::UploadUndone => Self::conflict("upload-undone", text),
            RunError::FileRefused => Self::conflict("file-refused", text),
            RunError::Unclonable(_) => Self::conflict("unclonable", text),
            RunError::InvalidArguments(error) => {
                let field =
                    if error.path == "." { "args".to_owned() } else { format!("args.{}", error.path) };
                Self::invalid(&field, text)
            }
            RunError::FenceLost | RunError::Arguments(_) => Self::internal(text),
            RunError::Database(error) => error.into(),
        }
    }
}

impl From<LiveError> for ApiError {
    fn from(error: LiveError) -> Self {
        let text = error.to_string();
        match error {
            LiveError::Busy => Self::busy(text),
            LiveError::BeingUndone(_) => Self::conflict("upload-undone", text),
            LiveError::Unknown => {
                let mut unknown = Self::unavailable("database", &text);
                unknown.problem.detail = text;
                unknown
            }
            LiveError::Database(cause) => Self::internal(cause),
            LiveError::Cache(error) => Self::database(&error),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let text = error.to_string();
        match error {
            UploadError::NotFound(_) => Self::not_found(text),
            UploadError::KeyReused => Self::key_reused(text),
            UploadError::BeingUndone(_) => Self::conflict("upload-undone", text),
            UploadError::NotUndoable(_) => Self::conflict("not-undoable", text),
            UploadError::Run(error) => error.into(),
            UploadError::Database(error) => error.into(),
        }
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::NotFound(_) => Self::not_found(text),
            ClientError::Invalid(faults) => {
                let error = |fault: FieldFault| FieldError {
                    field: fault.field.to_owned(),
                    detail: format!("{}.", fault.message),
                };
                Self::invalid_fields(faults.into_iter().map(error).collect())
            }
            ClientError::Taken { field, .. } => Self::conflict("client-exists", text).at(field),
            ClientError::EmailTaken { .. } => Self::conflict("email-taken", text).at("email"),
            ClientError::Stale(_) => Self::conflict("changed-meanwhile", text).at("contact_version"),
            ClientError::Database(error) => error.into(),
        }
    }
}

impl From<StockError> for ApiError {
    fn from(error: StockError) -> Self {
        let text = error.to_string();
        match error {
            StockError::Invalid(faults) => {
                let error =
                    |fault: StockFault| FieldError { field: fault.field.to_owned(), detail: fault.reason };
                Self::invalid_fields(faults.into_iter().map(error).collect())
            }
            StockError::Taken(_) => Self::conflict("stock-exists", text).at("ticker"),
            StockError::Database(error) => error.into(),
        }
    }
}

impl From<TradeError> for ApiError {
    fn from(error: TradeError) -> Self {
        let text = error.to_string();
        match error {
            TradeError::NotFound(_) => Self::not_found(text),
            TradeError::Invalid { field, .. } => Self::invalid(field, text),
            TradeError::UnknownClient(_) => Self::invalid("client_id", text),
            TradeError::KeyReused => Self::key_reused(text),
            TradeError::NotSettled(..) => Self::conflict("not-settled", text),
            TradeError::Reversal(_) => Self::conflict("is-reversal", text),
            TradeError::Reversed(..) => Self::conflict("reversed-already", text),
            TradeError::Busy => Self::busy(text),
            TradeError::Unknown => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unknown-outcome", "Outcome unknown", text.clone())
                    .with(header::RETRY_AFTER, "5")
                    .because(text)
            }
            TradeError::Run(error) => Self::internal(error),
            TradeError::Database(error) => Self::of_database(&error),
        }
    }
}

impl From<NotificationError> for ApiError {
    fn from(error: NotificationError) -> Self {
        let text = error.to_string();
        match error {
            NotificationError::NotFound(_)
            | NotificationError::NoDelivery(_)
            | NotificationError::NoEndpoint(_)
            | NotificationError::NoSubscription(_) => Self::not_found(text),
            NotificationError::Invalid { field, .. } => Self::invalid(&field, text),
            NotificationError::UnknownClient(_) => Self::invalid("client_id", text),
            NotificationError::ChannelOff(_) => Self::invalid("channels", text),
            NotificationError::KeyReused => Self::key_reused(text),
            NotificationError::NotReplayable(..) => Self::conflict("not-replayable", text),
            NotificationError::EndpointGone(_) | NotificationError::EndpointDisabled(..) => {
                Self::conflict("endpoint-unavailable", text)
            }
            NotificationError::Overlapping(_) => Self::conflict("secret-overlaps", text).at("overlap_hours"),
            NotificationError::ReplayedMeanwhile(_) => Self::conflict("replayed-meanwhile", text),
            NotificationError::NotUnknown(..) => Self::conflict("not-unknown", text),
            NotificationError::EndpointExists(_) => Self::conflict("endpoint-exists", text).at("url"),
            NotificationError::Run(error) => error.into(),
            NotificationError::Database(error) => error.into(),
        }
    }
}

impl From<DeletionError> for ApiError {
    fn from(error: DeletionError) -> Self {
        let text = error.to_string();
        match error {
            DeletionError::InProgress(_) => Self::conflict("uploads-in-progress", text),
            DeletionError::NotAskedFor | DeletionError::TooLate => Self::internal(text),
            DeletionError::Run(error) => error.into(),
            DeletionError::Database(error) => error.into(),
        }
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error)
    }
}

impl From<FxError> for ApiError {
    fn from(error: FxError) -> Self {
        let text = error.to_string();
        match error {
            FxError::Invalid { field, .. } => Self::invalid(field, text),
            FxError::Duplicate(_) => Self::conflict("rate-exists", text).at("valid_from"),
            FxError::Database(error) => error.into(),
        }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self::invalid(fault.field, fault.message)
    }
}

impl ApiError {
    /// 422: one Idempotency-Key for two requests.
    pub fn key_reused(detail: impl Into<String>) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, "idempotency-key-reused", "Idempotency-Key reused", detail).at("Idempotency-Key")
    }
}

impl From<MultipartError> for ApiError {
    fn from(error: MultipartError) -> Self {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::too_large("The request is larger than this server accepts.");
        }
        Self::bad_request(format!("The multipart body cannot be read: {}", error.body_text())).at("body")
    }
}
