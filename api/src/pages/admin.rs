//! What keeps the whole: actions that concern no single upload or run, and the ways to what is set up.

use super::{
    pieces::Action,
    run_parts::ActionForm,
    shell::{Shell, done, page},
};
use crate::{
    actions::{etl::run_etl, undo::refresh_summary},
    app::AppState,
    auth::PageSession,
    error::ApiResult,
};
use askama::Template;
use axum::{Form, extract::State, response::Response};

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
    action: Action,
}

/// `GET /ui/admin`.
pub(super) async fn show(shell: Shell) -> ApiResult<Response> {
    let etl = Deed {
        title: "Run ETL",
        about: "Loads the clients’ file, then the transactions’ file, from the configured places \
                (MILLRACE_ETL_CLIENTS, MILLRACE_ETL_TRANSACTIONS), as one run. While one runs, that one is shown.",
        action: shell.action("Run ETL", "/ui/admin/etl".to_owned(), None),
    };
    let refresh = Deed {
        title: "Refresh the clients’ summary",
        about: "It is refreshed after every upload by itself. This asks for one more; one that waits already \
                serves all who ask.",
        action: shell.action("Refresh", "/ui/admin/refresh".to_owned(), None),
    };
    page(&AdminPage { shell, deeds: vec![etl, refresh] })
}

/// `POST /ui/admin/refresh`.
pub(super) async fn refresh(
    session: PageSession,
    State(state): State<AppState>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let run = refresh_summary(&state, &session.principal).await?;
    Ok(done(&format!("/ui/runs/{run}"), "refreshing"))
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
