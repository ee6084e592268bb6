//! Service E: a user's spend by day as a page with a chart. As E's other figures it is of the installation's
//! currency, with what was gained negative and without what failed. E's page took Plotly from another host;
//! this one has it from here, and the same numbers as a table.

use super::analysis_api::{Unreadable, user_trend};
use crate::{
    app::AppState,
    error::ApiResult,
    pages::{
        chart::{Chart, SpendWords},
        shell::{Shell, page, theme},
    },
    params::PathText,
};
use askama::Template;
use axum::{
    extract::{OriginalUri, State},
    http::{HeaderMap, StatusCode},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Most days that are drawn, the latest ones: ten years.
const MOST_DAYS: usize = 3_660;

pub(super) fn router() -> OpenApiRouter<AppState> {
    super::clients_etl::with_variants(
        OpenApiRouter::new().routes(routes!(show_dashboard)),
        &[("/dashboard/{id}", "/dashboard/{id}/")],
        OpenApiRouter::new().route("/dashboard/{id}/", get(show_dashboard)),
    )
}

#[derive(Template)]
#[template(path = "pages/dashboard/dashboard.html")]
struct Dashboard {
    shell: Shell,
    title: String,
    chart: Chart,
}

/// A page with a chart of what a user spent by day and its moving average, as people open it at service E.
///
/// In the installation's currency; sells and refunds are negative; what failed is left out. At most the
/// latest 3,660 days are drawn.
#[utoipa::path(get, path = "/dashboard/{id}", tag = "compat",
    params(("id" = i64, Path, description = "The user")), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 404, description = "There are no transactions: a page that says so", body = String, content_type = "text/html"),
    (status = 422, description = "The id is no number", body = super::analysis_api::Detail),
))]
async fn show_dashboard(
    State(state): State<AppState>,
    PathText(id): PathText,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let mut unreadable = Unreadable::default();
    let user_id = unreadable.user_id(&id);
    if let Some(refusal) = unreadable.refuse() {
        return Ok(refusal);
    }
    let Some(mut trend) = user_trend(&state, user_id).await? else {
        let said = format!("<h2>No data available to plot for User {user_id}</h2>");
        return Ok((StatusCode::NOT_FOUND, Html(said)).into_response());
    };
    let cut = trend.days.len().saturating_sub(MOST_DAYS);
    trend.days.drain(..cut);
    let title = format!("Transaction Analysis: User {user_id}");
    // E named dollars, whatever they were.
    let axis = format!("Amount ({})", if trend.currency == "USD" { "$" } else { &trend.currency });
    let words = SpendWords {
        legend: if cut > 0 { "The latest 3,660 days." } else { "" },
        period: "Date",
        axis: Some(&axis),
        bars: "Daily Spend",
        line: "7-Day Moving Average",
    };
    let shell = Shell::outside(uri.path(), theme(&headers), state.env.clock.now());
    let days = trend.days.first().zip(trend.days.last());
    let span = days.map(|(first, last)| format!(", {} to {}", first.day, last.day)).unwrap_or_default();
    let said = format!("Spend in {} by day{span}", trend.currency);
    page(&Dashboard { shell, chart: Chart::spend("dashboard", said, words, &trend), title })
}
