//! The list of runs: states as chips, a search box with qualifiers, everything in the address.

use super::{
    address::Address,
    fmt,
    pieces::{Chip, Chips, Empty, Pager, icon},
    run_parts::RunLine,
    shell::{Shell, page},
};
use crate::{app::AppState, error::ApiResult};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use shared::{
    pagination::{Cursor, PageRequest},
    runs::{
        RunState,
        queries::{self, RunFilter},
        registry::KINDS,
    },
};

#[derive(Template)]
#[template(path = "pages/runs/list.html")]
struct ListPage {
    shell: Shell,
    states: Chips,
    kinds: Vec<(&'static str, bool)>,
    search: Search,
    state: String,
    clear: Option<String>,
    runs: Vec<RunLine>,
    pager: Pager,
    empty: Option<Empty>,
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    state: Option<String>,
    kind: Option<String>,
    q: Option<String>,
    cursor: Option<String>,
}

/// What the search box says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Search {
    text: String,
    kind: Option<String>,
    queue: Option<String>,
    error: Option<String>,
    flow: Option<shared::ids::RunId>,
    /// Words that mean nothing to us.
    unknown: Vec<String>,
}

impl Search {
    /// Reads `kind:ingest_chunk error:"time out" queue:ingest flow:<id>`; a word without a qualifier is
    /// a kind if there is such a kind, else part of the error's text.
    fn read(text: &str) -> Self {
        let mut search = Self { text: text.trim().chars().take(400).collect(), ..Self::default() };
        let mut error = Vec::new();
        for word in words(&search.text) {
            match word.split_once(':') {
                Some(("kind", value)) => search.kind = Some(value.to_owned()),
                Some(("queue", value)) => search.queue = Some(value.to_owned()),
                Some(("error", value)) => error.push(value.to_owned()),
                Some(("flow", value)) => match value.parse() {
                    Ok(id) => search.flow = Some(id),
                    Err(_) => search.unknown.push(word),
                },
                _ if KINDS.iter().any(|kind| kind.name == word) => search.kind = Some(word),
                _ => error.push(word),
            }
        }
        search.error = Some(error.join(" ")).filter(|error| !error.is_empty());
        search
    }
}

/// Words, where quotes hold several together.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            '\0' => {}
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// `GET /ui/runs`.
pub(super) async fn list(
    mut shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let search = Search::read(wanted.q.as_deref().unwrap_or_default());
    let chosen_kind = wanted.kind.filter(|kind| !kind.is_empty() && !kind.contains('\0'));
    let filter = RunFilter {
        states: wanted
            .state
            .iter()
            .flat_map(|states| states.split(','))
            .filter_map(|one| one.parse().ok())
            .collect(),
        kind: chosen_kind.clone().or_else(|| search.kind.clone()),
        queue: search.queue.clone(),
        flow: search.flow,
        error: search.error.clone(),
        ..RunFilter::default()
    };
    let request = PageRequest {
        cursor: wanted.cursor.as_deref().map(Cursor::decode).transpose()?,
        ..PageRequest::default()
    };
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    let states = states.join(",");
    let here = Address::new("/ui/runs")
        .with("state", &states)
        .maybe("kind", chosen_kind.as_deref())
        .with("q", &search.text);
    let mut conn = state.env.pool.get().await?;
    let found = queries::list_runs(&mut conn, &filter, &request).await?;
    let counts = queries::count_by_state(&mut conn, &filter).await?;
    shell.moving = found.items.iter().any(|run| !run.state.is_terminal());
    page(&ListPage {
        states: Chips { label: "State", chips: state_chips(&filter, &here, &counts) },
        kinds: KINDS.iter().map(|kind| (kind.name, chosen_kind.as_deref() == Some(kind.name))).collect(),
        clear: here.is_filtered().then(|| here.cleared()),
        pager: Pager::by_time(&found, &here, "run"),
        empty: found.items.is_empty().then(|| nothing(&filter, &here)),
        runs: found.items.iter().map(|run| RunLine::new(run, &shell)).collect(),
        state: states,
        search,
        shell,
    })
}

fn state_chips(filter: &RunFilter, here: &Address, counts: &[(RunState, i64)]) -> Vec<Chip> {
    RunState::ALL
        .iter()
        .map(|state| {
            let on = filter.states.contains(state);
            let mut states: Vec<&str> =
                filter.states.iter().filter(|other| *other != state).map(|other| other.as_str()).collect();
            if !on {
                states.push(state.as_str());
            }
            Chip {
                href: here.with("state", &states.join(",")).to_string(),
                word: state.to_string(),
                class: state.as_str(),
                icon: Some(icon(state.as_str())),
                count: Some(counts.iter().find(|(other, _)| other == state).map_or(0, |(_, count)| *count)),
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
    let mut words = Vec::new();
    if !filter.states.is_empty() {
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        words.push(format!("the state {}", states.join(" or ")));
    }
    words.extend(filter.kind.as_ref().map(|kind| format!("the kind {}", fmt::cut(kind, 60))));
    words.extend(filter.queue.as_ref().map(|queue| format!("the queue {}", fmt::cut(queue, 60))));
    words
        .extend(filter.error.as_ref().map(|error| format!("an error that holds “{}”", fmt::cut(error, 100))));
    words.extend(filter.flow.map(|flow| format!("the flow {flow}")));
    Empty::nothing_matches("runs", &words.join(" and "), &here.cleared())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_box_reads_qualifiers() {
        let search = Search::read("kind:plan_upload error:\"no header\" queue:ingest");
        assert_eq!(search.kind.as_deref(), Some("plan_upload"));
        assert_eq!(search.error.as_deref(), Some("no header"));
        assert_eq!(search.queue.as_deref(), Some("ingest"));
        let search = Search::read("ingest_chunk disk full");
        assert_eq!(search.kind.as_deref(), Some("ingest_chunk"));
        assert_eq!(search.error.as_deref(), Some("disk full"));
        assert_eq!(Search::read("flow:xyz").unknown, ["flow:xyz"]);
    }
}
