//! The list of clients.

use super::{
    address::{Address, segment},
    fmt,
    pieces::{Badge, Chip, Chips, Empty, Money, Pager, Time},
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
        AccountType, Client,
        queries::{self, ClientFilter},
    },
    pagination::{Cursor, PageRequest},
};

#[derive(Template)]
#[template(path = "pages/clients/list.html")]
struct ListPage {
    shell: Shell,
    search: String,
    account_type: Option<AccountType>,
    kinds: Chips,
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
            name: text(&client.name),
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
    cursor: Option<String>,
}

/// `GET /ui/clients`.
pub(super) async fn list(
    shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let search = wanted.q.unwrap_or_default().replace('\0', "").trim().chars().take(200).collect::<String>();
    let account_type: Option<AccountType> = wanted.account_type.as_deref().and_then(|one| one.parse().ok());
    let filter = ClientFilter {
        search: Some(search.clone()).filter(|search| !search.is_empty()),
        account_type,
        ..ClientFilter::default()
    };
    let request = PageRequest {
        cursor: wanted.cursor.as_deref().map(Cursor::decode).transpose()?,
        ..PageRequest::default()
    };
    let here =
        Address::new("/ui/clients").with("q", &search).maybe("type", account_type.map(AccountType::as_str));
    let mut conn = state.env.pool.get().await?;
    let found = queries::list_clients(&mut conn, &filter, &request).await?;
    page(&ListPage {
        kinds: Chips { label: "Account", chips: account_chips(account_type, &here) },
        clear: here.is_filtered().then(|| here.cleared()),
        pager: Pager::by_id(&found, &here, "client"),
        empty: found.items.is_empty().then(|| nothing(&search, account_type, &here)),
        clients: found.items.iter().map(|client| ClientLine::new(client, &shell)).collect(),
        search,
        account_type,
        shell,
    })
}

fn account_chips(chosen: Option<AccountType>, here: &Address) -> Vec<Chip> {
    AccountType::ALL
        .iter()
        .map(|kind| {
            let on = chosen == Some(*kind);
            Chip {
                href: here.with("type", if on { "" } else { kind.as_str() }).to_string(),
                word: kind.to_string(),
                class: "",
                icon: None,
                count: None,
                more: false,
                on,
            }
        })
        .collect()
}

fn nothing(search: &str, account_type: Option<AccountType>, here: &Address) -> Empty {
    if here.is_filtered() {
        let mut words = Vec::new();
        if !search.is_empty() {
            words.push(format!("an id, a name or an e-mail that begins with “{}”", fmt::cut(search, 80)));
        }
        words.extend(account_type.map(|kind| format!("the account type {kind}")));
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
