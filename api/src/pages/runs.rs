//! The list of runs: states as chips, a search box with qualifiers, everything in the address; what is
//! selected, or all that matches, can be retried and cancelled.

use super::{
    address::Address,
    bulk, fmt,
    pieces::{Action, Chip, Chips, Empty, Pager, icon},
    run_parts::{RunLine, lines},
    search::{Search, Sought},
    shell::{Shell, page},
};
use crate::{
    actions::bulk::{Deed, filter_words},
    app::AppState,
    error::ApiResult,
};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use shared::{
    pagination::PageRequest,
    runs::{
        RunState,
        counts::{StateCount, count_by_state},
        queries::{self, RunFilter},
    },
};

#[derive(Template)]
#[template(path = "pages/runs/list.html")]
struct ListPage {
    shell: Shell,
    states: Chips,
    kinds: Vec<(String, bool)>,
    search: Search,
    narrowed: Vec<(String, String)>,
    hidden: Vec<(&'static str, String)>,
    clear: Option<String>,
    runs: Vec<RunLine>,
    actions: Vec<Action>,
    pager: Pager,
    empty: Option<Empty>,
}

/// `GET /ui/runs`.
pub(super) async fn list(
    mut shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let sought = Sought::read(&wanted, state.env.kinds)?;
    let Sought { filter, here, .. } = &sought;
    let request = PageRequest { cursor: sought.cursor.clone(), ..PageRequest::default() };
    let mut conn = state.env.pool.get().await?;
    let found = queries::list_runs(&mut conn, filter, &request).await?;
    let counts = count_by_state(&mut conn, filter).await?;
    shell.moving = found.items.iter().any(|run| !run.state.is_terminal());
    let mut names: Vec<String> = state.env.kinds.iter().map(|kind| kind.name.to_owned()).collect();
    names.extend(queries::kinds(&mut conn).await?.into_iter().filter(|name| {
        // Kinds of other versions, whose runs are still there.
        !state.env.kinds.iter().any(|kind| kind.name == name)
    }));
    page(&ListPage {
        states: Chips { label: "State", chips: state_chips(filter, here, &counts) },
        kinds: names.into_iter().map(|name| (name.clone(), sought.kind.as_ref() == Some(&name))).collect(),
        clear: here.is_filtered().then(|| here.cleared()),
        pager: Pager::by_time(&found, here, "run"),
        empty: found.items.is_empty().then(|| nothing(filter, here)),
        runs: lines(&mut conn, &found.items, &shell).await?,
        actions: [Deed::Retry, Deed::Cancel]
            .into_iter()
            .filter_map(|deed| bulk::on_all(&shell, deed, &sought, &counts))
            .collect(),
        narrowed: sought.chips(),
        hidden: here.fields().iter().filter(|(name, _)| !["q", "kind"].contains(name)).cloned().collect(),
        search: sought.search,
        shell,
    })
}

fn state_chips(filter: &RunFilter, here: &Address, counts: &[StateCount]) -> Vec<Chip> {
    RunState::ALL
        .iter()
        .map(|state| {
            let on = filter.states.contains(state);
            let mut states: Vec<&str> =
                filter.states.iter().filter(|other| *other != state).map(|other| other.as_str()).collect();
            if !on {
                states.push(state.as_str());
            }
            let counted = counts.iter().find(|count| count.state == *state);
            Chip {
                href: here.with("state", &states.join(",")).to_string(),
                word: state.to_string(),
                class: state.as_str(),
                icon: Some(icon(state.as_str())),
                count: Some(counted.map_or(0, |count| count.count)),
                more: counted.is_some_and(|count| count.more),
                on,
            }
        })
        .collect()
}

fn nothing(filter: &RunFilter, here: &Address) -> Empty {
    if !here.is_filtered() {
        return Empty::nothing_yet(
            "No run yet",
            "A run is one piece of work that survives crashes: a file to plan, a chunk to load. Uploading a file \
             makes the first ones.",
            "Upload a file",
            "/ui/uploads/new",
        );
    }
    Empty::nothing_matches("runs", &filter_words(filter), &here.cleared())
}
