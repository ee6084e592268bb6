//! Failures, like by like: what fails, since when, how often; retry all that are alike.

use super::{
    address::{Address, segment},
    fmt,
    pieces::{Action, Confirm, Empty, Id, Pager, Time},
    run_parts::{ActionForm, RunLine, lines},
    shell::{Shell, done, page},
    upload::ConfirmPage,
};
use crate::{
    actions::bulk::{self, Deed},
    app::AppState,
    auth::PageSession,
    error::{ApiError, ApiResult},
    routes::failures::{find, retry_request},
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, Query, State},
    response::Response,
};
use serde::Deserialize;
use shared::{
    pagination::{Cursor, PageRequest},
    runs::{
        failures::{self, FailureGroup},
        queries::{self, RunFilter},
    },
};

/// Runs of a group that its page shows.
const RUNS: i64 = 25;

#[derive(Template)]
#[template(path = "pages/failures/list.html")]
struct ListPage {
    shell: Shell,
    lately: String,
    ungrouped: Option<String>,
    groups: Vec<Group>,
    pager: Pager,
    empty: Option<Empty>,
}

#[derive(Template)]
#[template(path = "pages/failures/group.html")]
struct GroupPage {
    shell: Shell,
    group: Group,
    fingerprint: String,
    error: Option<String>,
    last_run: Option<Id>,
    runs: Vec<RunLine>,
    all: String,
}

/// Failed attempts that are alike.
struct Group {
    href: String,
    kind: String,
    message: String,
    occurrences: i64,
    failed: i64,
    retrying: i64,
    first: Time,
    last: Time,
    retry: Action,
}

impl Group {
    fn new(group: &FailureGroup, shell: &Shell) -> Self {
        let href = format!("/ui/failures/{}", segment(&group.fingerprint));
        let refusal = (group.failed_runs == 0).then(|| "none is failed now".to_owned());
        let label = format!("Retry {}", fmt::counted(group.failed_runs, "run"));
        let label = if group.failed_runs == 0 { "Retry".to_owned() } else { label };
        let action = shell.action(&label, format!("{href}/retry"), refusal);
        Self {
            kind: fmt::words(&group.kind),
            message: fmt::cut(&group.message, 300),
            occurrences: group.occurrences,
            failed: group.failed_runs,
            retrying: group.retrying_runs,
            first: shell.ago(group.first_seen),
            last: shell.ago(group.last_seen),
            retry: action,
            href,
        }
    }
}

fn question(shell: &Shell, group: &FailureGroup) -> Confirm {
    let href = format!("/ui/failures/{}", segment(&group.fingerprint));
    let runs = fmt::counted(group.failed_runs, "run");
    Confirm {
        id: "retry-group",
        title: format!("Retry {runs}?"),
        consequence: format!(
            "These are all {} runs that ended with “{}”. Each begins again at once, with all its attempts; of a \
             flow only what did not complete. One run does it; its page shows how far it is.",
            fmt::words(&group.kind),
            fmt::cut(&group.message, 200)
        ),
        label: format!("Retry {runs}"),
        back: href.clone(),
        href: format!("{href}/retry"),
        csrf: shell.csrf().to_owned(),
        fields: Vec::new(),
        danger: false,
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    cursor: Option<String>,
}

/// `GET /ui/failures`.
pub(super) async fn list(
    mut shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let cursor = wanted.cursor.as_deref().map(Cursor::decode).transpose()?;
    if let Some(cursor) = &cursor {
        failures::place(cursor)?;
    }
    let request = PageRequest { cursor, ..PageRequest::default() };
    let mut conn = state.env.pool.get().await?;
    let found = failures::groups(&mut conn, &request).await?;
    let ungrouped = failures::count_ungrouped(&mut conn).await?;
    let lately = shell.visitor.as_ref().map_or(0, |visitor| visitor.failed_lately);
    shell.moving = found.items.iter().any(|group| group.retrying_runs > 0);
    page(&ListPage {
        lately: match lately {
            0 => "No run failed in the last hour.".to_owned(),
            runs => format!("{} failed in the last hour.", fmt::counted(runs, "run")),
        },
        ungrouped: (ungrouped > 0).then(|| {
            format!("{} ended badly without an error of its own", fmt::counted(ungrouped, "further run"))
        }),
        pager: Pager::by_time(&found, &Address::new("/ui/failures"), "group"),
        empty: found.items.is_empty().then(|| {
            Empty::nothing_yet(
                "No failure is known",
                "When an attempt fails, its error is put together here with those that are alike: since when, how \
                 often, and a button that retries them all.",
                "See the runs",
                "/ui/runs",
            )
        }),
        groups: found
            .items
            .iter()
            .map(|group| {
                // A dialog needs an id of its own: from a list, a page asks.
                let mut group = Group::new(group, &shell);
                group.retry.label.push_str(" …");
                group
            })
            .collect(),
        shell,
    })
}

/// `GET /ui/failures/{fingerprint}`.
pub(super) async fn show(
    mut shell: Shell,
    State(state): State<AppState>,
    Path(fingerprint): Path<String>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let found = find(&mut conn, no_nul(&fingerprint)?).await?;
    let filter = RunFilter { fingerprint: Some(fingerprint.clone()), ..RunFilter::default() };
    let request = PageRequest { limit: RUNS, cursor: None };
    let runs = queries::list_runs(&mut conn, &filter, &request).await?.items;
    let last = queries::find_run(&mut conn, found.last_run_id).await?;
    shell.moving = runs.iter().any(|run| !run.state.is_terminal());
    let mut group = Group::new(&found, &shell);
    if group.retry.refusal.is_none() {
        group.retry.confirm = Some(question(&shell, &found));
    }
    page(&GroupPage {
        error: found.error.as_deref().map(|error| fmt::cut(error, 20_000)),
        last_run: last.map(|run| Id::new(run.id).to(format!("/ui/runs/{}", run.id))),
        runs: lines(&mut conn, &runs, &shell).await?,
        all: Address::new("/ui/runs").with("fingerprint", &fingerprint).to_string(),
        fingerprint,
        group,
        shell,
    })
}

fn no_nul(text: &str) -> ApiResult<&str> {
    match text.contains('\0') {
        true => Err(ApiError::bad_parameter("fingerprint", "A fingerprint holds no NUL character.")),
        false => Ok(text),
    }
}

/// `POST /ui/failures/{fingerprint}/retry`; asks first.
pub(super) async fn retry(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(fingerprint): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let group = find(&mut *state.env.pool.get().await?, no_nul(&fingerprint)?).await?;
    if !form.is_confirmed() {
        let confirm = question(&shell, &group);
        return page(&ConfirmPage { shell, title: "Retry runs", confirm });
    }
    let request = retry_request(&fingerprint);
    let asked = bulk::ask(&state, &session.principal, Deed::Retry, request, None).await?;
    Ok(done(&format!("/ui/runs/{}", asked.run.id), "bulk"))
}
