//! Registering an account holder: what is wrong stands at its field, with what was typed.

use super::{
    address::segment,
    forms::{Field, Form as Fields, Reader, is_refusal, line},
    shell::{Shell, done, page},
};
use crate::{
    actions::stocks::register,
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
use shared::clients::{NewAccount, register::USERNAME_CHARACTERS};

#[derive(Template)]
#[template(path = "pages/clients/new.html")]
struct NewPage {
    shell: Shell,
    form: Fields,
}

/// What the form says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    csrf_token: String,
    username: String,
    balance: String,
    currency: String,
    name: String,
    email: String,
}

fn fields(typed: &Typed, currency: &str) -> Fields {
    Fields::new(vec![
        Field::new("username", "Username", &typed.username, *USERNAME_CHARACTERS.end())
            .like("ann")
            .hint("3 to 50 characters, not digits alone; no other client has it."),
        Field::decimal("balance", "Opening balance", &typed.balance, "1000.00")
            .hint("What the account begins with; at most four decimals."),
        Field::new("currency", "Currency of the account", &typed.currency, 3)
            .like(currency)
            .capitals()
            .optional()
            .hint(format!("Empty means {currency}.")),
        Field::new("name", "Full name", &typed.name, 255).optional(),
        Field::new("email", "E-mail", &typed.email, 254).mode("email").optional().hint("Of no other client."),
    ])
}

fn read(typed: &Typed, currency: &str) -> ApiResult<NewAccount> {
    let mut reader = Reader::default();
    let text = |typed: &str| Some(line(typed)).filter(|typed| !typed.is_empty());
    let new = NewAccount {
        username: line(&typed.username),
        client_id: None,
        name: text(&typed.name),
        email: text(&typed.email),
        currency: text(&typed.currency).map_or_else(|| currency.to_owned(), |typed| typed.to_uppercase()),
        balance: reader.decimal("balance", &typed.balance),
    };
    if reader.faults.is_empty() {
        return Ok(new);
    }
    let texts = new.faults().into_iter();
    let texts = texts
        .map(|fault| FieldError { field: fault.field.to_owned(), detail: format!("{}.", fault.message) });
    Err(ApiError::invalid_fields(texts.chain(reader.faults).collect()))
}

/// `GET /ui/clients/new`.
pub(super) async fn form(shell: Shell, State(state): State<AppState>) -> ApiResult<Response> {
    let form = fields(&Typed::default(), &state.env.settings.currency);
    page(&NewPage { shell, form })
}

/// `POST /ui/clients`.
pub(super) async fn submit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(typed): Form<Typed>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let currency = &state.env.settings.currency;
    let registered = match read(&typed, currency) {
        Ok(new) => register(&state, &session.principal, &new, None, &()).await,
        Err(error) => Err(error),
    };
    match registered {
        Ok((client, _)) => {
            Ok(done(&format!("/ui/clients/{}", segment(&client.client_id)), "client-registered"))
        }
        Err(error) if is_refusal(&error) => {
            let mut form = fields(&typed, currency);
            form.refuse(error.problem());
            Ok((error.status(), page(&NewPage { shell, form })?).into_response())
        }
        Err(error) => Err(error),
    }
}
