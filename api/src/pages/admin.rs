//! What keeps the whole: actions that concern no single upload or run, and the ways to what is set up.

use super::{
    pieces::Action,
    run_parts::ActionForm,
    shell::{Shell, done, page},
};
use crate::{
    actions::{
        etl::run_etl,
        summaries::{Chore, ask_for},
    },
    app::AppState,
    auth::PageSession,
    error::ApiResult,
};
use askama::Template;
use axum::{Form, extract::State, response::Response};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "pages/admin/admin.html")]
struct AdminPage {
    shell: Shell,
    deeds: Vec<Deed>,
}

/// Something that can be done.
struct Deed {
    title: &'static str,
    about: &'static str,
    actions: Vec<Action>,
}

#[derive(Deserialize)]
pub(super) struct RebuildForm {
    #[serde(flatten)]
    form: ActionForm,
    truncate: Option<String>,
}

/// `GET /ui/admin`.
pub(super) async fn show(shell: Shell) -> ApiResult<Response> {
    let etl = Deed {
        title: "Run ETL",
        about: "Loads the clients’ file, then the transactions’ file, from the configured places \
                (MILLRACE_ETL_CLIENTS, MILLRACE_ETL_TRANSACTIONS), as one run. While one runs, that one is shown.",
        actions: vec![shell.action("Run ETL", "/ui/admin/etl".to_owned(), None)],
    };
    let refresh = Deed {
        title: "Refresh the clients’ summary",
        about: "It is refreshed after every upload by itself. This asks for one more; one that has not ended \
                serves all who ask.",
        actions: vec![shell.action("Refresh", "/ui/admin/refresh".to_owned(), None)],
    };
    let verify = Deed {
        title: "Verify the totals",
        about: "Compares every total of days, merchants and clients with the transactions, as every night, and fails \
                if one differs: the run names the first.",
        actions: vec![shell.action("Verify", "/ui/admin/verify".to_owned(), None)],
    };
    let verify_ledger = Deed {
        title: "Verify the ledger",
        about: "Compares every account, holding and stock with what the ledger’s entries add up to, as every night, \
                while trades are settled, and fails if one differs: the run names the first.",
        actions: vec![shell.action("Verify the ledger", "/ui/admin/verify-ledger".to_owned(), None)],
    };
    let rebuild = |label| shell.action(label, "/ui/admin/rebuild".to_owned(), None);
    let rebuild = Deed {
        title: "Rebuild the totals",
        about: "Counts the transactions anew and mends the totals that are wrong, or writes all of them. Reading, \
                loading and undoing go on; each total is seen as it was or as it should be.",
        actions: vec![
            rebuild("Rebuild"),
            Action { fields: vec![("truncate", "yes".to_owned())], ..rebuild("Write all anew") },
        ],
    };
    page(&AdminPage { shell, deeds: vec![etl, refresh, verify, verify_ledger, rebuild] })
}

/// `POST /ui/admin/refresh`.
pub(super) async fn refresh(
    session: PageSession,
    State(state): State<AppState>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    ask(&session, &state, &form, Chore::Refresh, "refreshing").await
}

/// `POST /ui/admin/rebuild`.
pub(super) async fn rebuild(
    session: PageSession,
    State(state): State<AppState>,
    Form(sent): Form<RebuildForm>,
) -> ApiResult<Response> {
    let chore = Chore::Rebuild { truncate: sent.truncate.is_some() };
    ask(&session, &state, &sent.form, chore, "rebuilding").await
}

/// `POST /ui/admin/verify`.
pub(super) async fn verify(
    session: PageSession,
    State(state): State<AppState>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    ask(&session, &state, &form, Chore::Verify, "verifying").await
}

/// `POST /ui/admin/verify-ledger`.
pub(super) async fn verify_ledger(
    session: PageSession,
    State(state): State<AppState>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    ask(&session, &state, &form, Chore::VerifyLedger, "verifying-ledger").await
}

async fn ask(
    session: &PageSession,
    state: &AppState,
    form: &ActionForm,
    chore: Chore,
    said: &str,
) -> ApiResult<Response> {
    form.verify(session)?;
    let (run, created) = ask_for(state, &session.principal, chore, None).await?;
    // A refresh that has not ended will do what is asked; the others are not begun anew.
    let stands = !created && chore != Chore::Refresh;
    Ok(done(&format!("/ui/runs/{}", run.id), if stands { "stands" } else { said }))
}

/// `POST /ui/admin/etl`.
pub(super) async fn etl(
    session: PageSession,
    State(state): State<AppState>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let (run, created) = run_etl(&state, &session.principal, None).await?;
    Ok(done(&format!("/ui/runs/{}", run.id), if created { "etl" } else { "stands" }))
}
