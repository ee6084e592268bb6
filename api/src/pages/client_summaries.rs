//! What each client bought and sold: the materialized view, as of when it is, and the button that refreshes it.

use super::{
    address::{Address, segment},
    clients::searched,
    fmt,
    pieces::{Action, Badge, Chip, Chips, Empty, Money, Pager, Time},
    shell::{Shell, done, page},
};
use crate::{
    actions::summaries::{Chore, ask_for},
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::ApiResult,
};
use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use shared::{
    clients,
    pagination::{Cursor, PageRequest},
    runs::{
        Job, Run,
        queries::{RunFilter, list_runs},
    },
    summaries::{
        by_client::{self, ClientSummary, ClientSummaryFilter, SummaryOrder},
        jobs::RefreshClientSummary,
        queries,
    },
};
use std::collections::HashMap;

/// Where the list is.
const HERE: &str = "/ui/client-summaries";

#[derive(Template)]
#[template(path = "pages/clients/summaries.html")]
struct SummariesPage {
    shell: Shell,
    refreshed_at: Option<Time>,
    run: Option<RefreshRun>,
    refresh: Action,
    search: String,
    hidden: Vec<(&'static str, String)>,
    orders: Vec<(SummaryOrder, &'static str, bool)>,
    currencies: Chips,
    clear: Option<String>,
    lines: Vec<Line>,
    pager: Pager,
    empty: Option<Empty>,
}

/// The last run that refreshes, or did.
struct RefreshRun {
    href: String,
    badge: Badge,
    asked: Time,
    by: String,
    ended: bool,
    error: Option<String>,
}

struct Line {
    key: String,
    href: String,
    title: String,
    id: Option<String>,
    currency: String,
    transactions: i64,
    buys: i64,
    sells: i64,
    spent: Money,
    gained: Money,
}

impl Line {
    fn new(row: &ClientSummary, name: Option<&String>) -> Self {
        let id = &row.client_id;
        Self {
            key: format!("{id} {}", row.currency),
            href: format!("/ui/clients/{}", segment(id)),
            title: name.map_or_else(|| id.clone(), |name| fmt::cut(name, 80)),
            id: name.map(|_| id.clone()),
            currency: row.currency.clone(),
            transactions: row.total_transactions,
            buys: row.buys,
            sells: row.sells,
            spent: Money::new(row.total_spent, &row.currency),
            gained: Money::new(row.total_gained, &row.currency),
        }
    }
}

impl RefreshRun {
    fn new(run: &Run, shell: &Shell) -> Self {
        Self {
            href: format!("/ui/runs/{}", run.id),
            badge: run.state.into(),
            asked: shell.ago(run.created_at),
            by: run.created_by.clone(),
            ended: run.state.is_terminal(),
            error: run.error.as_deref().map(|error| fmt::cut(error, 200)),
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
    currency: Option<String>,
    sort: Option<String>,
    cursor: Option<String>,
}

fn order_words(order: SummaryOrder) -> &'static str {
    match order {
        SummaryOrder::Client => "client",
        SummaryOrder::Transactions => "most transactions",
        SummaryOrder::Spent => "most spent on buys",
        SummaryOrder::Gained => "most gained by sells",
    }
}

/// `GET /ui/client-summaries`.
pub(super) async fn list(
    mut shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let text = |typed: Option<String>| searched(typed).filter(|text| !text.is_empty());
    let filter = ClientSummaryFilter { search: text(wanted.q), currency: text(wanted.currency) };
    let order: SummaryOrder =
        wanted.sort.as_deref().and_then(|sort| sort.parse().ok()).unwrap_or(SummaryOrder::Client);
    let narrowed =
        Address::new(HERE).maybe("q", filter.search.as_deref()).maybe("currency", filter.currency.as_deref());
    let here = narrowed.with("sort", if order == SummaryOrder::Client { "" } else { order.as_str() });
    let request = PageRequest {
        cursor: wanted.cursor.as_deref().map(Cursor::decode).transpose()?,
        ..PageRequest::default()
    };
    let mut conn = state.env.pool.get().await?;
    let found = by_client::list_client_summaries(&mut conn, &filter, order, &request).await?;
    let ids: Vec<&str> = found.items.iter().map(|row| row.client_id.as_str()).collect();
    let names: HashMap<String, String> =
        clients::queries::names(&mut conn, &ids).await?.into_iter().collect();
    let currencies = by_client::currencies(&mut conn).await?;
    let refreshed_at = queries::refreshed_at(&mut conn).await?;
    let refreshes = RunFilter { kind: Some(RefreshClientSummary::KIND.to_owned()), ..RunFilter::default() };
    let runs = list_runs(&mut conn, &refreshes, &PageRequest { limit: 1, cursor: None }).await?;
    let run = runs.items.first().map(|run| RefreshRun::new(run, &shell));
    shell.moving = run.as_ref().is_some_and(|run| !run.ended);
    let refresh = Action {
        fields: vec![("next", here.to_string())],
        ..shell.action("Refresh", format!("{HERE}/refresh"), None)
    };
    page(&SummariesPage {
        refreshed_at: refreshed_at.map(|at| shell.ago(at)),
        run,
        refresh,
        hidden: narrowed.fields().into_iter().filter(|(name, _)| *name == "currency").collect(),
        orders: SummaryOrder::ALL.iter().map(|one| (*one, order_words(*one), *one == order)).collect(),
        currencies: Chips {
            label: "Currency",
            chips: currency_chips(currencies, filter.currency.as_deref(), &here),
        },
        clear: narrowed.is_filtered().then(|| here.with("q", "").with("currency", "").to_string()),
        pager: Pager::by_id(&found, &here, "row"),
        empty: found.items.is_empty().then(|| nothing(&filter, refreshed_at.is_some(), &here)),
        lines: found.items.iter().map(|row| Line::new(row, names.get(&row.client_id))).collect(),
        search: filter.search.unwrap_or_default(),
        shell,
    })
}

fn currency_chips(currencies: Vec<String>, chosen: Option<&str>, here: &Address) -> Vec<Chip> {
    let chip = |currency: String| {
        let on = chosen == Some(currency.as_str());
        Chip {
            href: here.with("currency", if on { "" } else { &currency }).to_string(),
            word: currency,
            class: "",
            icon: None,
            count: None,
            more: false,
            on,
        }
    };
    currencies.into_iter().map(chip).collect()
}

fn nothing(filter: &ClientSummaryFilter, refreshed: bool, here: &Address) -> Empty {
    let mut words = Vec::new();
    words.extend(filter.search.as_ref().map(|search| {
        let search = fmt::cut(search, 80);
        format!("a client whose id, name, e-mail or phone number begins with “{search}”")
    }));
    words.extend(filter.currency.as_ref().map(|currency| format!("the currency {}", fmt::cut(currency, 40))));
    if !words.is_empty() {
        let all = here.with("q", "").with("currency", "").to_string();
        return Empty::nothing_matches("summaries", &words.join(" and "), &all);
    }
    let text = if refreshed {
        "There was no transaction when it was last refreshed. It is refreshed after every upload by itself."
    } else {
        "It has never been refreshed. The first upload does so when it has ended, or the button above."
    };
    Empty::nothing_yet("No summary yet", text, "Upload a transactions file", "/ui/uploads/new")
}

/// What the button sends.
#[derive(Deserialize)]
pub(super) struct Asked {
    csrf_token: String,
    #[serde(default)]
    next: String,
}

/// `POST /ui/client-summaries/refresh`.
pub(super) async fn refresh(
    session: PageSession,
    State(state): State<AppState>,
    Form(asked): Form<Asked>,
) -> ApiResult<Response> {
    verify_csrf(&session, &asked.csrf_token)?;
    ask_for(&state, &session.principal, Chore::Refresh, None).await?;
    let here = asked.next.strip_prefix(HERE).is_some_and(|rest| rest.is_empty() || rest.starts_with('?'));
    Ok(done(if here { &asked.next } else { HERE }, "summary-refreshing"))
}
