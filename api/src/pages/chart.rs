//! A chart: a title that states what is seen, a table of the numbers, and a figure for the script (`chart.js`) to draw
//! them in. The figure is Plotly's JSON, made by the crate `plotly`, without the numbers: the script takes them from the
//! table, where they are exact. Its colours are the theme's tokens.

use super::fmt::{self, Number};
use askama::{Template, filters::HtmlSafe};
use chrono::NaiveDate;
use plotly::{
    Bar, Configuration, Layout, Plot, Scatter,
    common::{Font, Label, Line, Marker, Mode, Orientation, Title},
    configuration::{DisplayModeBar, DoubleClick},
    layout::{Axis, AxisType, HoverMode, Legend, Margin, RangeMode},
};
use shared::analytics::{SpendDay, SpendTrend};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

/// A day on an axis of dates.
const DAY_MS: f64 = 86_400_000.0;

/// A chart over time.
#[derive(Debug, Template)]
#[template(path = "partials/chart.html")]
pub struct Chart {
    id: &'static str,
    title: String,
    legend: String,
    summary: String,
    figure: Arc<str>,
    columns: Vec<String>,
    rows: Vec<Row>,
}

impl HtmlSafe for Chart {}

/// A period.
#[derive(Debug)]
pub struct Row {
    /// Its first day.
    pub day: NaiveDate,
    /// What it is called, unless that is its day.
    pub name: Option<String>,
    /// How high the bar is.
    pub bar: Number,
    /// Where the line is.
    pub line: Option<Number>,
}

/// What a chart is made of.
pub struct Content<'a> {
    /// Names it within the page.
    pub id: &'static str,
    /// What is seen.
    pub title: String,
    /// What bars and line mean.
    pub legend: String,
    /// What a period is called: `Day`.
    pub period: &'a str,
    /// The unit: a currency, or what is counted.
    pub unit: &'a str,
    /// What the vertical axis says; the unit if absent.
    pub axis: Option<&'a str>,
    /// What the bars are.
    pub bars: &'a str,
    /// What the line is, if there is one.
    pub line: Option<&'a str>,
    /// The periods, the earliest first.
    pub rows: Vec<Row>,
}

impl Chart {
    /// The chart with its table, the latest period first.
    pub fn new(content: Content<'_>) -> Self {
        let figure = FIGURES.of(&content);
        let Content { id, title, legend, period, unit, bars, line, mut rows, .. } = content;
        rows.reverse();
        let series = [Some(bars), line].into_iter().flatten();
        Self {
            summary: fmt::counted(rows.len() as i64, &period.to_ascii_lowercase()),
            columns: std::iter::once(period.to_owned())
                .chain(series.map(|name| format!("{name} ({unit})")))
                .collect(),
            rows,
            id,
            title,
            legend,
            figure,
        }
    }

    /// A client's spend by day.
    pub fn spend(id: &'static str, title: String, words: SpendWords<'_>, trend: &SpendTrend) -> Self {
        let row = |day: &SpendDay| Row {
            day: day.day,
            name: None,
            bar: Number::Amount(day.spend),
            line: Some(Number::Amount(day.average())),
        };
        Self::new(Content {
            id,
            title,
            legend: words.legend.to_owned(),
            period: words.period,
            unit: &trend.currency,
            axis: words.axis,
            bars: words.bars,
            line: Some(words.line),
            rows: trend.days.iter().map(row).collect(),
        })
    }
}

/// What the parts of a chart of spend are called.
#[derive(Debug, Clone, Copy)]
pub struct SpendWords<'a> {
    /// What bars and line mean.
    pub legend: &'static str,
    /// The horizontal axis.
    pub period: &'static str,
    /// The vertical axis; the currency if absent.
    pub axis: Option<&'a str>,
    /// The bars.
    pub bars: &'static str,
    /// The line.
    pub line: &'static str,
}

/// Figures that were made: there are few, and Plotly's layouts take longer to make than a chart's table.
#[derive(Default)]
struct Figures(Mutex<HashMap<[String; 5], Arc<str>>>);

/// Figures that are kept, at most.
const KEPT: usize = 256;

static FIGURES: LazyLock<Figures> = LazyLock::new(Figures::default);

impl Figures {
    fn of(&self, content: &Content<'_>) -> Arc<str> {
        // That of a single day says which.
        if content.rows.len() == 1 {
            return figure(content).into();
        }
        let key = [
            content.period,
            content.unit,
            content.axis.unwrap_or_default(),
            content.bars,
            content.line.unwrap_or_default(),
        ]
        .map(str::to_owned);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(figure) = kept.get(&key) {
            return figure.clone();
        }
        let figure: Arc<str> = figure(content).into();
        if kept.len() < KEPT {
            kept.insert(key, figure.clone());
        }
        figure
    }
}

/// Plotly's JSON of a chart, fit for a `<script>` element: a trace for each column of numbers, which it is drawn from.
fn figure(content: &Content<'_>) -> String {
    let nothing = Vec::<u8>::new;
    let hover = format!("%{{hovertext}} {}", content.unit);
    let mut plot = Plot::new();
    let bars = Bar::new(nothing(), nothing())
        .name(content.bars)
        .hover_template(&hover)
        .opacity(if content.line.is_some() { 0.5 } else { 0.8 })
        .marker(Marker::new().color("var(--accent)"));
    plot.add_trace(if content.rows.len() == 1 { bars.width(DAY_MS / 2.0) } else { bars });
    if let Some(line) = content.line {
        plot.add_trace(
            Scatter::new(nothing(), nothing())
                .name(line)
                .mode(Mode::Lines)
                .hover_template(&hover)
                .line(Line::new().color("var(--text)").width(2.0)),
        );
    }
    plot.set_layout(layout(content));
    plot.set_configuration(
        Configuration::new()
            .responsive(true)
            .display_mode_bar(DisplayModeBar::False)
            .double_click(DoubleClick::Reset)
            .show_tips(false),
    );
    // Nothing in a script element may look like its end.
    plot.to_json().replace('<', "\\u003c")
}

fn layout(content: &Content<'_>) -> Layout {
    let axis = |title: &str| {
        Axis::new()
            .title(Title::from(title).font(Font::new().size(12)))
            .color("var(--muted)")
            .grid_color("var(--line)")
            .line_color("var(--line)")
            .zero_line_color("var(--line)")
            .auto_margin(true)
    };
    let legend = Legend::new()
        .orientation(Orientation::Horizontal)
        .x(0.0)
        .y(1.02)
        .y_anchor(plotly::common::Anchor::Bottom);
    Layout::new()
        .auto_size(true)
        .show_legend(content.line.is_some())
        .legend(legend)
        .margin(Margin::new().left(56).right(8).top(if content.line.is_some() { 28 } else { 8 }).bottom(40))
        .font(Font::new().size(12).color("var(--muted)"))
        .paper_background_color("rgba(0,0,0,0)")
        .plot_background_color("rgba(0,0,0,0)")
        .hover_mode(HoverMode::XUnified)
        .hover_label(
            Label::new()
                .background_color("var(--surface)")
                .border_color("var(--line)")
                .font(Font::new().size(12).color("var(--text)")),
        )
        .x_axis(days_axis(axis(content.period), &content.rows))
        .y_axis(
            axis(content.axis.unwrap_or(content.unit))
                .range_mode(RangeMode::ToZero)
                .fixed_range(true)
                .separate_thousands(true),
        )
}

/// The axis of the periods. Around a single one there is a day to either side: Plotly would show the
/// milliseconds around its beginning.
fn days_axis(axis: Axis, rows: &[Row]) -> Axis {
    let axis = axis.type_(AxisType::Date).hover_format("%Y-%m-%d").show_grid(false);
    let [Row { day, .. }] = rows else { return axis };
    let beside = [day.pred_opt(), day.succ_opt()].map(|other| other.unwrap_or(*day).to_string());
    axis.range(beside.to_vec()).dtick(DAY_MS).tick_format("%Y-%m-%d")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;

    fn row(day: &str, name: Option<&str>, bar: Number) -> Row {
        Row { day: day.parse().unwrap(), name: name.map(str::to_owned), bar, line: None }
    }

    fn chart(name: &str) -> Chart {
        let amounts = [Decimal::new(12_345_678_901, 4), Decimal::ZERO].map(Number::Amount);
        Chart::new(Content {
            id: "test",
            title: "Spend".to_owned(),
            legend: String::new(),
            period: "Day",
            unit: name,
            axis: None,
            bars: "Spent",
            line: None,
            rows: vec![row("2026-01-01", None, amounts[0]), row("2026-01-02", Some("<2nd>"), amounts[1])],
        })
    }

    #[test]
    fn the_table_is_exact_and_the_figure_has_what_it_is_drawn_with() {
        let chart = chart("USD");
        assert_eq!(chart.columns, ["Day", "Spent (USD)"]);
        let figure: serde_json::Value = serde_json::from_str(&chart.figure).unwrap();
        assert_eq!(figure["data"].as_array().unwrap().len(), 1);
        assert_eq!(figure["data"][0]["hovertemplate"], "%{hovertext} USD");
        assert_eq!(figure["layout"]["yaxis"]["title"]["text"], "USD");
        assert!(!chart.figure.contains("http"), "{}", chart.figure);
        let html = chart.render().unwrap();
        let body = html.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
        assert_eq!(
            body.split_whitespace().collect::<Vec<_>>().join(" "),
            "<tr><td data-day=\"2026-01-02\">&#60;2nd&#62;</td><td class=\"number\">0.00</td></tr> \
             <tr><td>2026-01-01</td><td class=\"number\">1,234,567.8901</td></tr>"
        );
    }

    #[test]
    fn a_single_day_stands_between_its_neighbours() {
        let days = ["2026-03-01", "2026-03-02"].map(|day| row(day, None, Number::Count(1)));
        let axis = serde_json::to_value(days_axis(Axis::new(), &days[..1])).unwrap();
        assert_eq!(axis["range"], serde_json::json!(["2026-02-28", "2026-03-02"]));
        assert!(serde_json::to_value(days_axis(Axis::new(), &days)).unwrap().get("range").is_none());
    }

    #[test]
    fn a_figure_cannot_end_its_element() {
        let text = chart("</script><b>").render().unwrap();
        assert_eq!(text.matches("</script>").count(), 1, "{text}");
    }
}
