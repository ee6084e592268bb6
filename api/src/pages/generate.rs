//! Bulk generation: a form of what to generate, which is loaded or downloaded.

use super::shell::{Shell, done, page};
use crate::{
    actions::synthetic::generate,
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult, FieldError},
    routes::synthetic::file,
};
use askama::Template;
use axum::{
    Form,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use shared::synthetic::{
    DEFAULT_DAYS, DEFAULT_END, DataFormat, DataKind, DataRequest, TransactionForm, nightly::DEFAULT_ROWS,
};
use std::str::FromStr;

#[derive(Template)]
#[template(path = "pages/generate/generate.html")]
struct GeneratePage {
    shell: Shell,
    typed: Typed,
    complaints: Vec<FieldError>,
}

/// What the form says.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    csrf_token: String,
    what: String,
    num_rows: String,
    seed: String,
    form: String,
    end: String,
    days: String,
    dirty: String,
    format: String,
    /// Which button: `load` or `download`.
    then: String,
}

impl Default for Typed {
    fn default() -> Self {
        Self {
            csrf_token: String::new(),
            what: DataKind::Transactions.to_string(),
            num_rows: DEFAULT_ROWS.to_string(),
            seed: "1".to_owned(),
            form: TransactionForm::E.to_string(),
            end: DEFAULT_END.to_string(),
            days: DEFAULT_DAYS.to_string(),
            dirty: "0".to_owned(),
            format: DataFormat::Csv.to_string(),
            then: String::new(),
        }
    }
}

/// The fields of the form that something can be wrong with.
const FIELDS: [&str; 8] = ["what", "num_rows", "seed", "form", "end", "days", "dirty", "format"];

impl GeneratePage {
    /// What is wrong with a field.
    fn at(&self, field: &str) -> Option<&str> {
        self.complaints.iter().find(|one| one.field == field).map(|one| one.detail.as_str())
    }

    /// What is wrong with something that has no field.
    fn elsewhere(&self) -> Option<&str> {
        let strange = self.complaints.iter().find(|one| !FIELDS.contains(&one.field.as_str()));
        strange.map(|one| one.detail.as_str())
    }
}

/// `GET /ui/generate`.
pub(super) async fn form(shell: Shell) -> ApiResult<Response> {
    page(&GeneratePage { shell, typed: Typed::default(), complaints: Vec::new() })
}

/// `POST /ui/generate`.
pub(super) async fn submit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(typed): Form<Typed>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let error = match request(&typed) {
        Err(error) => error,
        Ok(asked) if typed.then == "download" => match file(&asked) {
            Ok(file) => return Ok(file),
            Err(error) => error,
        },
        Ok(asked) => match generate(&state, &session.principal, &asked, None).await {
            Ok((run, _)) => return Ok(done(&format!("/ui/runs/{}", run.id), "generating")),
            Err(error) => error,
        },
    };
    if error.status() != StatusCode::UNPROCESSABLE_ENTITY {
        return Err(error);
    }
    let problem = error.problem();
    let complaints = if problem.errors.is_empty() {
        let field = problem.field.clone().unwrap_or_default();
        vec![FieldError { field, detail: problem.detail.clone() }]
    } else {
        problem.errors.clone()
    };
    Ok((error.status(), page(&GeneratePage { shell, typed, complaints })?).into_response())
}

/// What the form asks for; an empty field is as if it were not there.
fn request(typed: &Typed) -> ApiResult<DataRequest> {
    let mut wrong = Vec::new();
    let asked = DataRequest {
        what: read(&mut wrong, "what", &typed.what, "Choose one."),
        num_rows: read(&mut wrong, "num_rows", &typed.num_rows, "Give a whole number from 1 to 100,000,000.")
            .unwrap_or_default(),
        seed: read(&mut wrong, "seed", &typed.seed, "A seed is a whole number such as 1."),
        form: read(&mut wrong, "form", &typed.form, "Choose one."),
        end: read(&mut wrong, "end", &typed.end, "Give a day such as 2026-01-31."),
        days: read(&mut wrong, "days", &typed.days, "Give a whole number from 1 to 3,650."),
        dirty: read(&mut wrong, "dirty", &typed.dirty, "Give a whole number from 0 to 100."),
        format: read(&mut wrong, "format", &typed.format, "Choose one."),
        profile: None,
    };
    if wrong.is_empty() { Ok(asked) } else { Err(ApiError::invalid_fields(wrong)) }
}

/// A field's value; numbers may have their thousands separated.
fn read<T: FromStr>(wrong: &mut Vec<FieldError>, field: &str, typed: &str, right: &str) -> Option<T> {
    let plain: String = typed.trim().chars().filter(|sign| *sign != ',').collect();
    if plain.is_empty() {
        return None;
    }
    let value = plain.parse().ok();
    if value.is_none() {
        wrong.push(FieldError { field: field.to_owned(), detail: right.to_owned() });
    }
    value
}
