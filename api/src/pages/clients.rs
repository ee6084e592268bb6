//! The list of clients.

use super::{
    address::{Address, segment},
    fmt,
    pieces::{Badge, Chip, Chips, Empty, Money, Pager, Time, Way, client_shape, icon},
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
    clients::{
        AccountType, Client, ClientStatus,
        queries::{self, ClientFilter},
    },
    pagination::{Cursor, PageRequest},
};

/// Most countries to choose from; a longer list would be no help.
const COUNTRIES: i64 = 500;

#[derive(Template)]
#[template(path = "pages/clients/list.html")]
struct ListPage {
    shell: Shell,
    search: String,
    hidden: Vec<(&'static str, String)>,
    countries: Vec<(String, bool)>,
    kinds: Chips,
    statuses: Chips,
    new_client: Way,
    clear: Option<String>,
    clients: Vec<ClientLine>,
    pager: Pager,
    empty: Option<Empty>,
}

struct ClientLine {
    href: String,
    id: String,
    name: String,
    email: String,
    account_type: Option<AccountType>,
    country: String,
    balance: Money,
    debt: Option<Money>,
    badge: Badge,
    since: Time,
}

impl ClientLine {
    fn new(client: &Client, shell: &Shell) -> Self {
        let text =
            |field: &Option<String>| field.as_deref().map(|text| fmt::cut(text, 80)).unwrap_or_default();
        Self {
            href: format!("/ui/clients/{}", segment(&client.client_id)),
            id: client.client_id.clone(),
            // What people know it by.
            name: text(if client.name.is_some() { &client.name } else { &client.username }),
            email: text(&client.email),
            account_type: client.account_type,
            country: text(&client.country),
            balance: Money::new(client.balance(), &client.currency),
            debt: (!client.debt().is_zero()).then(|| Money::new(client.debt(), &client.currency)),
            badge: Badge::client(client.status()),
            since: shell.ago(client.created_at),
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
    #[serde(rename = "type")]
    account_type: Option<String>,
    country: Option<String>,
    status: Option<String>,
    cursor: Option<String>,
}

/// `GET /ui/clients`.
pub(super) async fn list(
    shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let text = |typed: Option<String>| searched(typed).filter(|text| !text.is_empty());
    let filter = ClientFilter {
        search: text(wanted.q),
        account_type: wanted.account_type.as_deref().and_then(|one| one.parse().ok()),
        country: text(wanted.country),
        status: wanted.status.as_deref().and_then(|one| one.parse().ok()),
    };
    let request = PageRequest {
        cursor: wanted.cursor.as_deref().map(Cursor::decode).transpose()?,
        ..PageRequest::default()
    };
    let here = Address::new("/ui/clients")
        .maybe("q", filter.search.as_deref())
        .maybe("country", filter.country.as_deref())
        .maybe("type", filter.account_type.map(AccountType::as_str))
        .maybe("status", filter.status.map(ClientStatus::as_str));
    let mut conn = state.env.pool.get().await?;
    let found = queries::list_clients(&mut conn, &filter, &request).await?;
    let countries = queries::countries(&mut conn, COUNTRIES).await?;
    let hidden = here.fields().into_iter().filter(|(name, _)| ["type", "status"].contains(name));
    page(&ListPage {
        hidden: hidden.collect(),
        countries: country_options(countries, filter.country.as_deref()),
        kinds: Chips { label: "Account", chips: account_chips(filter.account_type, &here) },
        statuses: Chips { label: "Status", chips: status_chips(filter.status, &here) },
        new_client: shell.way("New client", "/ui/clients/new".to_owned()),
        clear: here.is_filtered().then(|| here.cleared()),
        pager: Pager::by_id(&found, &here, "client"),
        empty: found.items.is_empty().then(|| nothing(&filter, &here)),
        clients: found.items.iter().map(|client| ClientLine::new(client, &shell)).collect(),
        search: filter.search.unwrap_or_default(),
        shell,
    })
}

/// What was typed into a search box, of a length that can be meant.
pub(super) fn searched(typed: Option<String>) -> Option<String> {
    typed.map(|text| text.replace('\0', "").trim().chars().take(200).collect())
}

/// The countries to choose from, the chosen one always among them.
fn country_options(countries: Vec<String>, chosen: Option<&str>) -> Vec<(String, bool)> {
    let absent = chosen.filter(|chosen| countries.iter().all(|country| country != chosen)).map(str::to_owned);
    let all = absent.into_iter().chain(countries);
    all.map(|country| (country.clone(), chosen == Some(country.as_str()))).collect()
}

/// A value to filter by: a click chooses it, or lets go of it.
fn choice(here: &Address, name: &'static str, word: &'static str, on: bool) -> Chip {
    Chip {
        href: here.with(name, if on { "" } else { word }).to_string(),
        word: word.to_owned(),
        class: "",
        icon: None,
        count: None,
        more: false,
        on,
    }
}

fn account_chips(chosen: Option<AccountType>, here: &Address) -> Vec<Chip> {
    let chip = |kind: &AccountType| choice(here, "type", kind.as_str(), chosen == Some(*kind));
    AccountType::ALL.iter().map(chip).collect()
}

fn status_chips(chosen: Option<ClientStatus>, here: &Address) -> Vec<Chip> {
    let chip = |status: &ClientStatus| Chip {
        class: status.as_str(),
        icon: Some(icon(client_shape(*status))),
        ..choice(here, "status", status.as_str(), chosen == Some(*status))
    };
    ClientStatus::ALL.iter().map(chip).collect()
}

fn nothing(filter: &ClientFilter, here: &Address) -> Empty {
    if here.is_filtered() {
        let mut words = Vec::new();
        words.extend(filter.search.as_ref().map(|search| {
            let search = fmt::cut(search, 80);
            format!(
                "an id, a username, a word of a name, an e-mail or a phone number that begins with “{search}”"
            )
        }));
        words.extend(filter.country.as_ref().map(|country| format!("the country {}", fmt::cut(country, 80))));
        words.extend(filter.account_type.map(|kind| format!("the account type {kind}")));
        words.extend(filter.status.map(|status| format!("the status {status}")));
        return Empty::nothing_matches("clients", &words.join(" and "), &here.cleared());
    }
    Empty::nothing_yet(
        "No client yet",
        "Clients come from a clients file, or as stubs from the transactions of somebody nobody knew.",
        "Upload a clients file",
        "/ui/uploads/new",
    )
    .or_by("millrace generate clients --rows 1000 > clients.csv")
}
