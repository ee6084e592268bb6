//! Placing an order. The form carries an idempotency key that is made with it: sent twice, it is one trade.

use super::{
    address::segment,
    fmt,
    forms::{Field, Form as Fields, Reader, line},
    pieces::{Badge, Money},
    shell::{Shell, done, page},
    stocks::stock_href,
    trade::follow,
    trades::trade_href,
};
use crate::{
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    clients::{
        Client,
        queries::{find_by_username, find_client},
    },
    pagination::PageRequest,
    stocks::{
        Stock,
        model::{MAX_VOLUME, TICKER_CHARACTERS},
        queries::{find_stock, list_stocks},
    },
    trades::{self, NewTrade, Side, TradeError, queries::list_holdings},
};
use uuid::Uuid;

/// Stocks that the form proposes.
const PROPOSED: i64 = 200;

#[derive(Template)]
#[template(path = "pages/trades/new.html")]
struct NewPage {
    shell: Shell,
    form: Fields,
    key: Uuid,
    stocks: Vec<(String, String)>,
    client: Option<ClientPart>,
    stock: Option<StockPart>,
}

/// The account, beside the form.
struct ClientPart {
    href: String,
    name: String,
    badge: Badge,
    suspended: bool,
    balance: Money,
    /// Shares of the stock that is chosen.
    holds: Option<String>,
}

/// The stock, beside the form.
struct StockPart {
    href: String,
    name: String,
    price: Money,
    left: String,
}

/// What the form says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    csrf_token: String,
    key: String,
    client: String,
    ticker: String,
    side: String,
    volume: String,
}

fn fields(typed: &Typed) -> Fields {
    Fields::new(vec![
        Field::new("client", "Client", &typed.client, 200).hint("The client’s whole id."),
        Field::new("ticker", "Ticker", &typed.ticker, TICKER_CHARACTERS)
            .like("AAPL")
            .capitals()
            .proposing("stocks"),
        Field::choice("side", "Side", &typed.side, vec![("buy", "Buy"), ("sell", "Sell")]),
        Field::whole("volume", "Shares", &typed.volume, "10"),
    ])
}

/// Whom and what the form means.
struct Meant {
    client: Option<Client>,
    /// The client of which the id's field holds the username.
    namesake: Option<Client>,
    stock: Option<Stock>,
}

impl Meant {
    async fn look(conn: &mut AsyncPgConnection, typed: &Typed) -> ApiResult<Self> {
        let (id, ticker) = (line(&typed.client), line(&typed.ticker));
        let client = find_client(conn, &id).await?;
        let namesake = if client.is_none() { find_by_username(conn, &id).await? } else { None };
        let stock = match find_stock(conn, &ticker).await? {
            // Tickers are told apart by case; most are capitals.
            None => find_stock(conn, &ticker.to_uppercase()).await?,
            found => found,
        };
        Ok(Self { client, namesake, stock })
    }

    /// The order, or what is wrong with it, field by field.
    fn order(&self, typed: &Typed, by: &str, key: Uuid) -> ApiResult<NewTrade> {
        let mut reader = Reader::default();
        let client_id = match (&self.client, &self.namesake) {
            (Some(client), _) => client.client_id.clone(),
            (None, Some(namesake)) => {
                reader.fault(
                    "client",
                    format!("This is a username; the client’s id is {}.", namesake.client_id),
                );
                String::new()
            }
            (None, None) => {
                let said = match line(&typed.client).as_str() {
                    "" => "Say whose account it is.".to_owned(),
                    id => format!("There is no client “{}”. Ids are told apart by case.", fmt::cut(id, 80)),
                };
                reader.fault("client", said);
                String::new()
            }
        };
        let ticker = self.stock.as_ref().map(|stock| stock.ticker.clone()).unwrap_or_else(|| {
            let said = match line(&typed.ticker).as_str() {
                "" => "Say which stock.".to_owned(),
                ticker => format!("There is no stock “{}”.", fmt::cut(ticker, 80)),
            };
            reader.fault("ticker", said);
            String::new()
        });
        let side = typed.side.parse().unwrap_or_else(|_| {
            reader.fault("side", "Choose whether it buys or sells.");
            Side::Buy
        });
        let volume = reader.whole("volume", &typed.volume);
        if reader.faults.iter().all(|fault| fault.field != "volume") && !(1..=MAX_VOLUME).contains(&volume) {
            reader.fault("volume", "A volume is a whole number of shares, from 1 to 2,147,483,647.");
        }
        if !reader.faults.is_empty() {
            return Err(ApiError::invalid_fields(reader.faults));
        }
        Ok(NewTrade { client_id, ticker, side, volume, by: by.to_owned(), key: Some(key.to_string()) })
    }

    /// The page with the form, and beside it whom and what it means.
    async fn page(
        self,
        conn: &mut AsyncPgConnection,
        shell: Shell,
        form: Fields,
        key: Uuid,
    ) -> ApiResult<NewPage> {
        let proposed = PageRequest { limit: PROPOSED, ..PageRequest::default() };
        let stocks = list_stocks(conn, None, &proposed).await?.items.into_iter();
        let client = match self.client {
            Some(client) => Some(client_part(conn, &client, self.stock.as_ref()).await?),
            None => None,
        };
        Ok(NewPage {
            shell,
            form,
            key,
            stocks: stocks.map(|stock| (stock.ticker, stock.name.unwrap_or_default())).collect(),
            client,
            stock: self.stock.map(|stock| StockPart {
                href: stock_href(&stock.ticker),
                price: Money::new(stock.close_price, &stock.currency),
                left: fmt::count(stock.volume),
                name: match stock.name {
                    Some(name) => format!("{}, {}", stock.ticker, fmt::cut(&name, 80)),
                    None => stock.ticker,
                },
            }),
        })
    }
}

async fn client_part(
    conn: &mut AsyncPgConnection,
    client: &Client,
    stock: Option<&Stock>,
) -> ApiResult<ClientPart> {
    let holds = match stock {
        Some(stock) => {
            let holdings = list_holdings(conn, &client.client_id).await?;
            let shares = holdings.iter().find(|one| one.ticker == stock.ticker).map_or(0, |one| one.shares);
            Some(fmt::counted(shares, "share"))
        }
        None => None,
    };
    let badge = Badge::client(client.status());
    Ok(ClientPart {
        href: format!("/ui/clients/{}", segment(&client.client_id)),
        name: fmt::cut(client.name.as_deref().unwrap_or(&client.client_id), 80),
        suspended: client.status() == shared::clients::ClientStatus::Suspended,
        badge,
        balance: Money::new(client.position, &client.currency),
        holds,
    })
}

/// `GET /ui/trades/new`.
pub(super) async fn form(
    shell: Shell,
    State(state): State<AppState>,
    Query(typed): Query<Typed>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let meant = Meant::look(&mut conn, &typed).await?;
    page(&meant.page(&mut conn, shell, fields(&typed), Uuid::new_v4()).await?)
}

/// `POST /ui/trades`.
pub(super) async fn submit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(typed): Form<Typed>,
) -> ApiResult<Response> {
    verify_csrf(&session, &typed.csrf_token)?;
    let key = typed.key.parse::<Uuid>().map_err(|_| {
        ApiError::bad_request("The form was not sent whole. Open it again and send it from there.")
    })?;
    let meant = {
        let mut conn = state.env.pool.get().await?;
        Meant::look(&mut conn, &typed).await?
    };
    let order = match meant.order(&typed, &session.principal.name, key) {
        Ok(order) => order,
        Err(error) => {
            let mut form = fields(&typed);
            form.refuse(error.problem());
            if let Some(namesake) = &meant.namesake {
                let href = trade_href(&namesake.client_id, &line(&typed.ticker), &typed.side);
                form.help("client", "Trade for that one", href);
            }
            return again(shell, &state, meant, form, key, error.status()).await;
        }
    };
    match trades::place_trade(&state.env, order).await {
        Ok(accepted) if accepted.replayed => {
            Ok(done(&format!("/ui/trades/{}", accepted.trade.id), "trade-known"))
        }
        Ok(accepted) => {
            let id = accepted.trade.id;
            tracing::info!(trade.id = %id, actor = %session.principal.name, "trade {id} is accepted");
            Ok(follow(&state, id).await)
        }
        Err(refused) => refuse(shell, &state, meant, &typed, key, refused).await,
    }
}

/// Shows the form again if sending it once more can help.
async fn refuse(
    shell: Shell,
    state: &AppState,
    meant: Meant,
    typed: &Typed,
    key: Uuid,
    refused: TradeError,
) -> ApiResult<Response> {
    let mut form = fields(typed);
    let (key, status) = match &refused {
        // Sent, changed after a step back, and sent again: the first order stands.
        TradeError::KeyReused => {
            form.complaint = Some(
                "This form has placed another order before, and that one stands. To place this one as well, send \
                 it once more."
                    .to_owned(),
            );
            let client = meant.client.as_ref().map_or("", |client| client.client_id.as_str());
            let href = super::address::Address::new("/ui/trades").with("client", client).to_string();
            form.way = Some(("The client’s trades".to_owned(), href));
            (Uuid::new_v4(), StatusCode::CONFLICT)
        }
        TradeError::UnknownClient(_) => {
            form.refuse(ApiError::invalid("client", refused.to_string()).problem());
            (key, StatusCode::UNPROCESSABLE_ENTITY)
        }
        TradeError::Busy => {
            form.complaint = Some(refused.to_string());
            (key, StatusCode::SERVICE_UNAVAILABLE)
        }
        // Under the same key it is accepted once.
        TradeError::Unknown => {
            form.complaint = Some(
                "The order may have been accepted or not. Send it again from here: it is accepted once."
                    .to_owned(),
            );
            (key, StatusCode::SERVICE_UNAVAILABLE)
        }
        _ => return Err(refused.into()),
    };
    again(shell, state, meant, form, key, status).await
}

async fn again(
    shell: Shell,
    state: &AppState,
    meant: Meant,
    form: Fields,
    key: Uuid,
    status: StatusCode,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let form = meant.page(&mut conn, shell, form, key).await?;
    Ok((status, page(&form)?).into_response())
}
