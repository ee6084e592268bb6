//! Retrying and cancelling many runs from the list: what is selected, or all that matches. The question
//! names action, count, filter and consequence; the answer leads to the run that does it.

use super::{
    fmt,
    pieces::{Action, Confirm},
    search::Sought,
    shell::{Shell, done, page},
    upload::ConfirmPage,
};
use crate::{
    actions::bulk::{self, BulkFilter, BulkRequest, Deed, filter_words, is_empty},
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
};
use axum::{
    extract::{RawForm, State},
    response::Response,
};
use shared::{
    ids::RunId,
    runs::{
        counts::{CAP, StateCount},
        queries::RunFilter,
    },
};

fn path(deed: Deed) -> &'static str {
    match deed {
        Deed::Retry => "/ui/runs:retry",
        Deed::Cancel => "/ui/runs:cancel",
    }
}

/// What follows, in a sentence.
fn consequence(deed: Deed) -> &'static str {
    match deed {
        Deed::Retry => {
            "Each begins again at once, with all its attempts; of a flow only what did not complete. What \
             has ended well is left alone. One run does it; its page shows how far it is."
        }
        Deed::Cancel => {
            "What waits will not run; what runs is asked to stop, and what it has not committed is rolled \
             back. What has ended is left alone. A retry later brings them back. One run does it; its page \
             shows how far it is."
        }
    }
}

fn question(shell: &Shell, deed: Deed, runs: &str, which: &str, back: String) -> Confirm {
    Confirm {
        id: match deed {
            Deed::Retry => "retry-all",
            Deed::Cancel => "cancel-all",
        },
        title: format!("{} {runs}?", deed.verb()),
        consequence: format!("{which} {}", consequence(deed)),
        label: format!("{} {runs}", deed.verb()),
        href: path(deed).to_owned(),
        back,
        csrf: shell.csrf().to_owned(),
        fields: Vec::new(),
        danger: deed == Deed::Cancel,
    }
}

fn which(filter: &RunFilter) -> String {
    match is_empty(filter) {
        true => "No filter is set: these are all that there are.".to_owned(),
        false => format!("These are all runs with {}.", filter_words(filter)),
    }
}

/// The button for all that match, if there are any.
pub(super) fn on_all(shell: &Shell, deed: Deed, sought: &Sought, counts: &[StateCount]) -> Option<Action> {
    // What was left out of the filter would widen it to what nobody meant.
    if !sought.search.unknown.is_empty() {
        return None;
    }
    let states = &sought.filter.states;
    let meant = counts
        .iter()
        .filter(|count| deed.applies_to(count.state) && (states.is_empty() || states.contains(&count.state)));
    let (number, more) = meant.fold((0, false), |(sum, more), count| (sum + count.count, more || count.more));
    if number == 0 {
        return None;
    }
    let runs = if more { format!("more than {} runs", fmt::count(CAP)) } else { fmt::counted(number, "run") };
    let mut fields = sought.here.fields();
    fields.push(("scope", "all".to_owned()));
    let confirm = Confirm {
        fields: fields.clone(),
        ..question(shell, deed, &runs, &which(&sought.filter), sought.here.to_string())
    };
    let count = if more { format!("{}+", fmt::count(CAP)) } else { fmt::count(number) };
    let action =
        shell.action(&format!("{} all {count} that match", deed.verb()), path(deed).to_owned(), None);
    Some(Action { fields, confirm: action.refusal.is_none().then_some(confirm), ..action })
}

/// What the form says.
struct Sent {
    pairs: Vec<(String, String)>,
}

impl Sent {
    fn one(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn ids(&self) -> ApiResult<Vec<RunId>> {
        let ids = self.pairs.iter().filter(|(name, _)| name == "id").map(|(_, value)| value.parse());
        ids.collect::<Result<_, _>>().map_err(|_| ApiError::bad_parameter("id", "An id of the form is none."))
    }
}

/// The page's filter as a request.
fn request_of(filter: &RunFilter) -> ApiResult<BulkRequest> {
    let queue = filter.queue.as_deref().map(str::parse).transpose();
    let filter = BulkFilter {
        states: filter.states.clone(),
        kind: filter.kind.clone(),
        queue: queue.map_err(|error: String| ApiError::invalid("queue", format!("The queue {error}.")))?,
        flow: filter.flow,
        parent: filter.parent,
        error: filter.error.clone(),
        fingerprint: filter.fingerprint.clone(),
        worker: filter.worker,
        // The question says that all runs are meant.
        all: is_empty(filter),
    };
    Ok(BulkRequest { ids: None, filter: Some(filter) })
}

async fn act(
    session: PageSession,
    shell: Shell,
    state: AppState,
    deed: Deed,
    form: &[u8],
) -> ApiResult<Response> {
    let sent = Sent { pairs: url::form_urlencoded::parse(form).into_owned().collect() };
    verify_csrf(&session, sent.one("csrf_token").unwrap_or_default())?;
    let sought = Sought::read(&sent.pairs, state.env.kinds)?;
    let back = sought.here.to_string();
    let all = sent.one("scope") == Some("all");
    if let (true, Some(word)) = (all, sought.search.unknown.first()) {
        let text = format!("{word} is not understood: without it, more runs would be meant than you see.");
        return Err(ApiError::bad_parameter("q", text));
    }
    let ids = sent.ids()?;
    if !all && ids.is_empty() {
        return Ok(done(&back, "none-selected"));
    }
    let request = match all {
        true => request_of(&sought.filter)?,
        false => BulkRequest { ids: Some(ids.clone()), filter: None },
    };
    if sent.one("confirmed") == Some("yes") {
        let asked = bulk::ask(&state, &session.principal, deed, request, None).await?;
        return Ok(done(&format!("/ui/runs/{}", asked.run.id), "bulk"));
    }
    let matched = bulk::matched(&mut *state.env.pool.get().await?, deed, request).await?;
    if matched == 0 {
        return Ok(done(&back, "none-fit"));
    }
    let mut fields = sought.here.fields();
    let described = match all {
        true => which(&sought.filter),
        false => format!("Of the {} that you selected, these can be.", fmt::counted(ids.len() as i64, "run")),
    };
    fields.extend(all.then(|| ("scope", "all".to_owned())));
    fields.extend(ids.iter().filter(|_| !all).map(|id| ("id", id.to_string())));
    let confirm =
        Confirm { fields, ..question(&shell, deed, &fmt::counted(matched, "run"), &described, back) };
    let title = match deed {
        Deed::Retry => "Retry runs",
        Deed::Cancel => "Cancel runs",
    };
    page(&ConfirmPage { shell, title, confirm })
}

/// `POST /ui/runs:retry`; asks first.
pub(super) async fn retry(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    RawForm(form): RawForm,
) -> ApiResult<Response> {
    act(session, shell, state, Deed::Retry, &form).await
}

/// `POST /ui/runs:cancel`; asks first.
pub(super) async fn cancel(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    RawForm(form): RawForm,
) -> ApiResult<Response> {
    act(session, shell, state, Deed::Cancel, &form).await
}
