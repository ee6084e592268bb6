//! Transactions as they come: one, or up to a thousand.

use crate::{
    app::AppState,
    error::{ApiError, ApiResult, Problem},
    params::{ExactJson, FromParams, NoQuery, Params, QueryOf, read_json},
    views::{
        live::{AddedView, BatchView, Exact, OutcomeView},
        words,
    },
};
use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{
    transactions::{
        live::{self, MOST_ROWS, Outcome, Submission},
        parse::{FieldFault, Reading},
        queries,
    },
    uploads::model::UnknownClients,
};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// A transaction that took place, or is to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTransaction {
    /// Its id, at most 100 characters; unique for ever. Sent again, it counts once.
    #[schema(example = "TRX-1000017")]
    transaction_id: String,
    /// Whose, at most 36 characters.
    #[schema(example = "C001")]
    client_id: String,
    /// When: ISO 8601; without a zone it is of the reporting zone.
    #[schema(example = "2026-11-28T10:15:00Z")]
    occurred_at: String,
    /// How much, as a text or a number, with at most four decimals. A payment below zero is a refund.
    #[schema(value_type = String, example = "12.50")]
    amount: Exact,
    /// Which way; a payment if absent.
    #[schema(schema_with = words::transaction_kind)]
    kind: Option<String>,
    /// ISO 4217; the default currency if absent.
    #[schema(example = "USD")]
    currency: Option<String>,
    /// Whether it took place; `success` if absent. A pending one may be sent again with what became of it.
    #[schema(schema_with = words::transaction_status)]
    status: Option<String>,
    /// Stock's ticker.
    ticker: Option<String>,
    /// Stock's name.
    stock_name: Option<String>,
    /// How many shares.
    #[schema(value_type = Option<String>)]
    shares: Option<Exact>,
    /// Price of one share.
    #[schema(value_type = Option<String>)]
    price: Option<Exact>,
    /// With whom.
    merchant_id: Option<String>,
    /// For what.
    product_id: Option<String>,
    /// online, branch, ATM …
    channel: Option<String>,
}

impl NewTransaction {
    fn add_to(&self, submission: &mut Submission, reading: &Reading) -> Result<(), FieldFault> {
        fn text(field: &Option<String>) -> &str {
            field.as_deref().unwrap_or_default()
        }
        fn number(field: &Option<Exact>) -> &str {
            field.as_ref().map_or("", |number| &number.0)
        }
        let fields = [
            &self.transaction_id,
            &self.client_id,
            &self.occurred_at,
            &self.amount.0,
            text(&self.kind),
            text(&self.currency),
            text(&self.ticker),
            text(&self.status),
            text(&self.channel),
            text(&self.merchant_id),
            text(&self.product_id),
            text(&self.stock_name),
            number(&self.shares),
            number(&self.price),
        ];
        submission.add(&fields, reading)
    }
}

/// How live transactions are understood.
pub fn reading(state: &AppState) -> Reading {
    let settings = &state.env.settings;
    let currency = settings.currency.as_bytes().try_into().unwrap_or_default();
    Reading::of_fields(settings.zone, currency, state.env.clock.now())
}

/// How one transaction is taken in.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AddParams {
    /// A client that nobody knows is made (`create`, the default), or its transaction is rejected (`reject`).
    #[param(schema_with = words::unknown_clients)]
    unknown_clients: Option<UnknownClients>,
}

impl FromParams for AddParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { unknown_clients: params.parsed("unknown_clients")? })
    }
}

fn rejected(fault: &FieldFault) -> ApiError {
    ApiError::invalid(fault.field, said(fault))
}

/// A fault in words.
pub fn said(fault: &FieldFault) -> String {
    let separator = if fault.message.starts_with(':') { "" } else { " " };
    format!("{}{separator}{}.", fault.field, fault.message)
}

/// Record a transaction.
///
/// It is committed, and in every summary, when this answers. Its id makes repeating the request harmless: the same
/// transaction again is 200 (`duplicate`), one that was pending and is decided now is 200 (`updated`), one that
/// contradicts what is recorded is 409 and names both versions. Transactions that come at one time are committed
/// together; where too many wait the answer is 503 with Retry-After.
#[utoipa::path(post, path = "/api/v1/transactions", tag = "transactions", request_body = NewTransaction,
    params(AddParams), responses(
    (status = 201, description = "It is recorded", body = AddedView,
     headers(("Location" = String, description = "The transaction"))),
    (status = 200, description = "It was there: the same (`duplicate`), or pending until now (`updated`)", body = AddedView),
    (status = 409, description = "Another transaction is recorded under its id"),
    (status = 422, description = "A field cannot be used"),
    (status = 503, description = "Too many wait; come again after Retry-After"),
))]
pub async fn add_transaction(
    State(state): State<AppState>,
    QueryOf(params): QueryOf<AddParams>,
    ExactJson(body): ExactJson<NewTransaction>,
) -> ApiResult<Response> {
    let mut submission = Submission::new(false, params.unknown_clients.unwrap_or(UnknownClients::Create));
    body.add_to(&mut submission, &reading(&state)).map_err(|fault| rejected(&fault))?;
    let submission = Arc::new(submission);
    let mut outcomes = live::take_in(&state.env, submission.clone()).await?;
    let outcome = outcomes.pop().unwrap_or(Outcome::LeftOut);
    let transaction = match &outcome {
        Outcome::Conflict(message) => {
            return Err(
                ApiError::conflict("transaction-conflict", format!("{message}.")).at("transaction_id")
            );
        }
        Outcome::Rejected(fault) => return Err(rejected(fault)),
        Outcome::Created => submission.transaction(0),
        Outcome::Updated | Outcome::Duplicate | Outcome::LeftOut => {
            let mut conn = state.env.pool.get().await?;
            // Only what was taken back meanwhile is not found.
            let found = queries::find_transaction(&mut conn, &body.transaction_id).await?;
            found.unwrap_or_else(|| submission.transaction(0))
        }
    };
    let location = address(&transaction.transaction_id);
    let status = if outcome == Outcome::Created { StatusCode::CREATED } else { StatusCode::OK };
    let added = AddedView { outcome: outcome.word(), transaction: transaction.into() };
    Ok((status, [(header::LOCATION, location)], Answer(added)).into_response())
}

/// Where a transaction is.
fn address(id: &str) -> String {
    match id {
        // The feed has that address.
        "stream" => "/api/v1/transactions/%73tream".to_owned(),
        id => format!("/api/v1/transactions/{}", crate::pages::segment(id)),
    }
}

/// One of many, as it was sent; what is wrong with it, if it has not even the form of one.
struct Sent(Result<NewTransaction, (String, Problem)>);

impl Sent {
    fn read(raw: &RawValue) -> Self {
        Self(serde_json::from_str(raw.get()).or_else(|_| {
            read_json(raw.get().as_bytes()).map_err(|error: ApiError| {
                let named = serde_json::from_str::<serde_json::Value>(raw.get()).unwrap_or_default();
                let id = named["transaction_id"].as_str().unwrap_or_default().to_owned();
                (id, error.problem().clone())
            })
        }))
    }

    /// Adds it; an outcome if it cannot be.
    fn add_to(&self, submission: &mut Submission, reading: &Reading) -> Option<OutcomeView> {
        match &self.0 {
            Ok(transaction) => {
                let fault = transaction.add_to(submission, reading).err()?;
                Some(OutcomeView::new(transaction.transaction_id.clone(), &Outcome::Rejected(fault)))
            }
            Err((id, problem)) => Some(OutcomeView::malformed(id.clone(), problem)),
        }
    }

    fn id(&self) -> &str {
        match &self.0 {
            Ok(transaction) => &transaction.transaction_id,
            Err((id, _)) => id,
        }
    }
}

/// Transactions that are sent together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTransactions {
    /// 1 to 1,000 of them.
    #[schema(value_type = Vec<NewTransaction>)]
    transactions: Vec<Box<RawValue>>,
    /// Whether all of them are to be recorded, or none.
    #[serde(default)]
    all_or_nothing: bool,
    /// A client that nobody knows is made (`create`, the default), or its transactions are rejected (`reject`).
    #[schema(schema_with = words::unknown_clients)]
    unknown_clients: Option<UnknownClients>,
}

/// Record up to a thousand transactions.
///
/// Each has its own outcome, in the order in which they were sent, with the status that it would have had alone. With
/// `all_or_nothing` one that is in conflict or rejected keeps all out: then the answer is 409 or 422, and the others
/// are `left_out`.
#[utoipa::path(post, path = "/api/v1/transactions:batch", tag = "transactions", request_body = NewTransactions,
    responses(
    (status = 200, description = "What became of each", body = BatchView),
    (status = 409, description = "None is recorded: one contradicts what is recorded", body = BatchView),
    (status = 422, description = "None is recorded: one cannot be used; or the body has the wrong form", body = BatchView),
    (status = 503, description = "Too many wait; come again after Retry-After"),
))]
pub async fn add_transactions(
    State(state): State<AppState>,
    _: NoQuery,
    ExactJson(body): ExactJson<NewTransactions>,
) -> ApiResult<Response> {
    let count = body.transactions.len();
    if !(1..=MOST_ROWS).contains(&count) {
        let detail = format!("There are {count} transactions; a batch has 1 to {MOST_ROWS}.");
        return Err(ApiError::invalid("transactions", detail));
    }
    let unknown_clients = body.unknown_clients.unwrap_or(UnknownClients::Create);
    let (mut submission, reading) = (Submission::new(body.all_or_nothing, unknown_clients), reading(&state));
    let sent: Vec<Sent> = body.transactions.iter().map(|raw| Sent::read(raw)).collect();
    let rejected: Vec<Option<OutcomeView>> =
        sent.iter().map(|sent| sent.add_to(&mut submission, &reading)).collect();
    let mut loaded = Vec::new().into_iter();
    if !submission.is_empty() && (!body.all_or_nothing || rejected.iter().all(Option::is_none)) {
        loaded = live::take_in(&state.env, Arc::new(submission)).await?.into_iter();
    }
    let outcomes: Vec<OutcomeView> = sent
        .iter()
        .zip(rejected)
        .map(|(sent, rejected)| {
            rejected.unwrap_or_else(|| {
                OutcomeView::new(sent.id().to_owned(), &loaded.next().unwrap_or(Outcome::LeftOut))
            })
        })
        .collect();
    let prevented = outcomes.iter().map(|outcome| outcome.status).filter(|status| *status >= 400).min();
    let status = prevented
        .filter(|_| body.all_or_nothing)
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::OK);
    Ok((status, Answer(BatchView::new(outcomes))).into_response())
}
