//! Cloning a run: its arguments to change, the kind's schema beside them; what the kind refuses is shown
//! at its field, with what was typed.

use super::{
    fmt,
    pieces::Id,
    run_parts::find,
    shell::{Shell, done, page},
};
use crate::{
    actions::{self, CloneRequest},
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult, Problem},
    params::read_instant,
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use shared::runs::{Run, registry::Kind};

#[derive(Template)]
#[template(path = "pages/runs/clone.html")]
struct ClonePage {
    shell: Shell,
    id: Id,
    kind: String,
    href: String,
    refusal: Option<String>,
    typed: Typed,
    complaint: Option<Problem>,
    schema: String,
    arguments: Vec<Argument>,
}

/// One argument of the kind, as its schema tells it.
struct Argument {
    name: String,
    kind: String,
    required: bool,
    about: String,
}

/// What the form says.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    csrf_token: String,
    args: String,
    #[serde(default)]
    run_at: String,
    #[serde(default)]
    priority: String,
}

impl ClonePage {
    /// The complaint about a field, if it is about that one.
    fn at(&self, field: &str) -> Option<&str> {
        let problem = self.complaint.as_ref()?;
        let found = problem.field.as_deref()?;
        let fits = found == field || found.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'));
        fits.then_some(problem.detail.as_str())
    }
}

/// Why a run cannot be cloned by this visitor.
pub(super) fn refusal(shell: &Shell, run: &Run, kinds: &[Kind]) -> Option<String> {
    if !shell.may_operate() {
        return Some("needs the role operator".to_owned());
    }
    match kinds.iter().find(|kind| kind.name == run.kind) {
        None => Some("this version does not know the kind".to_owned()),
        Some(kind) => kind.unclonable.map(str::to_owned),
    }
}

fn arguments(schema: &serde_json::Value) -> Vec<Argument> {
    let required = schema["required"].as_array();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let word = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(serde_json::Value::as_str).collect();
            words.join(" or ")
        }
        _ => "see the schema".to_owned(),
    };
    properties
        .map(|(name, property)| Argument {
            name: name.clone(),
            kind: match property["format"].as_str() {
                Some(format) => format!("{}, {format}", word(&property["type"])),
                None => word(&property["type"]),
            },
            required: required.is_some_and(|names| names.iter().any(|required| required == name)),
            about: property["description"].as_str().unwrap_or_default().to_owned(),
        })
        .collect()
}

fn form_page(shell: Shell, run: &Run, kinds: &[Kind], typed: Typed, complaint: Option<Problem>) -> ClonePage {
    let kind = kinds.iter().find(|kind| kind.name == run.kind);
    let schema = kind.map_or(serde_json::Value::Null, |kind| (kind.schema)());
    ClonePage {
        id: Id::new(run.id).to(format!("/ui/runs/{}", run.id)),
        kind: fmt::words(&run.kind),
        href: format!("/ui/runs/{}", run.id),
        refusal: refusal(&shell, run, kinds),
        arguments: arguments(&schema),
        schema: serde_json::to_string_pretty(&schema).unwrap_or_default(),
        typed,
        complaint,
        shell,
    }
}

/// `GET /ui/runs/{id}/clone`.
pub(super) async fn form(
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let run = find(&mut *state.env.pool.get().await?, &id).await?;
    let typed = Typed {
        csrf_token: String::new(),
        args: serde_json::to_string_pretty(&run.args).unwrap_or_default(),
        run_at: String::new(),
        priority: run.priority.to_string(),
    };
    page(&form_page(shell, &run, state.env.kinds, typed, None))
}

fn request(state: &AppState, typed: &Typed) -> ApiResult<CloneRequest> {
    let args = serde_json::from_str(&typed.args)
        .map_err(|error| ApiError::invalid("args", format!("This is not JSON: {error}.")))?;
    if typed.args.contains("\\u0000") {
        return Err(ApiError::invalid("args", "The arguments hold a text with a NUL character."));
    }
    let priority = match typed.priority.trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            ApiError::invalid(
                "priority",
                "A priority is a whole number from −32768 to 32767; lower goes first.",
            )
        })?),
    };
    Ok(CloneRequest {
        args: Some(args),
        run_at: read_instant(state.env.settings.zone, "run_at", &typed.run_at)?,
        priority,
    })
}

/// `POST /ui/runs/{id}/clone`.
pub(super) async fn submit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(typed): Form<Typed>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let run = find(&mut *state.env.pool.get().await?, &id).await?;
    let cloned = match request(&state, &typed) {
        Ok(request) => actions::clone_run(&state, &session.principal, run.id, &request, None).await,
        Err(error) => Err(error),
    };
    match cloned {
        Ok((clone, created)) => {
            Ok(done(&format!("/ui/runs/{}", clone.id), if created { "cloned" } else { "stands" }))
        }
        Err(error) if error.status().is_client_error() => {
            let problem = error.problem().clone();
            let page = page(&form_page(shell, &run, state.env.kinds, typed, Some(problem)))?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(error) => Err(error),
    }
}
