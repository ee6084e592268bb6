//! Listing a stock: what is wrong stands at its field, with what was typed.

use super::{
    forms::{Field, Form as Fields, Reader, is_refusal, line},
    shell::{Shell, done, page},
    stocks::stock_href,
};
use crate::{
    actions::stocks::list,
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult, FieldError},
};
use askama::Template;
use axum::{
    Form,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use shared::stocks::{
    NewStock,
    model::{NAME_CHARACTERS, TICKER_CHARACTERS},
};

#[derive(Template)]
#[template(path = "pages/stocks/new.html")]
struct NewPage {
    shell: Shell,
    form: Fields,
}

/// What the form says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    csrf_token: String,
    ticker: String,
    name: String,
    currency: String,
    open_price: String,
    close_price: String,
    high: String,
    low: String,
    volume: String,
}

fn fields(typed: &Typed, currency: &str) -> Fields {
    Fields::new(vec![
        Field::new("ticker", "Ticker", &typed.ticker, TICKER_CHARACTERS)
            .like("AAPL")
            .capitals()
            .hint("A word of at most 15 characters; no other stock has it."),
        Field::new("name", "Company", &typed.name, NAME_CHARACTERS).like("Apple Inc.").optional(),
        Field::new("currency", "Currency of its prices", &typed.currency, 3)
            .like(currency)
            .capitals()
            .optional()
            .hint(format!("Empty means {currency}.")),
        Field::decimal("open_price", "Open", &typed.open_price, "150.00"),
        Field::decimal("close_price", "Close", &typed.close_price, "155.00")
            .hint("What trades are settled at."),
        Field::decimal("high", "High", &typed.high, "156.00"),
        Field::decimal("low", "Low", &typed.low, "149.00"),
        Field::whole("volume", "Shares", &typed.volume, "1000000").hint("How many can be bought in all."),
    ])
}

fn read(typed: &Typed, currency: &str) -> ApiResult<NewStock> {
    let mut reader = Reader::default();
    let text = |typed: &str| Some(line(typed)).filter(|typed| !typed.is_empty());
    let new = NewStock {
        ticker: line(&typed.ticker),
        name: text(&typed.name),
        currency: text(&typed.currency).map_or_else(|| currency.to_owned(), |typed| typed.to_uppercase()),
        open_price: reader.decimal("open_price", &typed.open_price),
        close_price: reader.decimal("close_price", &typed.close_price),
        high: reader.decimal("high", &typed.high),
        low: reader.decimal("low", &typed.low),
        volume: reader.whole("volume", &typed.volume),
    };
    if reader.faults.is_empty() {
        return Ok(new);
    }
    // The numbers that could not be read contradict nothing; texts are told of at once.
    let texts =
        new.faults().into_iter().filter(|fault| ["ticker", "name", "currency"].contains(&fault.field));
    let texts = texts.map(|fault| FieldError { field: fault.field.to_owned(), detail: fault.reason });
    Err(ApiError::invalid_fields(texts.chain(reader.faults).collect()))
}

/// `GET /ui/stocks/new`.
pub(super) async fn form(shell: Shell, State(state): State<AppState>) -> ApiResult<Response> {
    let form = fields(&Typed::default(), &state.env.settings.currency);
    page(&NewPage { shell, form })
}

/// `POST /ui/stocks`.
pub(super) async fn submit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(typed): Form<Typed>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let currency = &state.env.settings.currency;
    let listed = match read(&typed, currency) {
        Ok(new) => list(&state, &session.principal, &new, None, &()).await,
        Err(error) => Err(error),
    };
    match listed {
        Ok((stock, _)) => Ok(done(&stock_href(&stock.ticker), "stock-listed")),
        Err(error) if is_refusal(&error) => {
            let mut form = fields(&typed, currency);
            form.refuse(error.problem());
            Ok((error.status(), page(&NewPage { shell, form })?).into_response())
        }
        Err(error) => Err(error),
    }
}
