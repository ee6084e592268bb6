//! A chart: a title that states what is seen, a figure for the script (`chart.js`) to draw, and a table of
//! the same numbers. The figure is Plotly's JSON, made by the crate `plotly`; its colours are the theme's
//! tokens. Numbers become binary fractions only there, for drawing: the hover's text and the table are exact.

use super::fmt;
use askama::{Template, filters::HtmlSafe};
use chrono::NaiveDate;
use plotly::{
    Bar, Configuration, Layout, Plot, Scatter,
    common::{Font, Label, Line, Marker, Mode, Orientation, Title},
    configuration::{DisplayModeBar, DoubleClick},
    layout::{Axis, AxisType, HoverMode, Legend, Margin, RangeMode},
};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use shared::analytics::SpendTrend;

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
    figure: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl HtmlSafe for Chart {}

/// One row of numbers over time.
pub struct Series {
    /// What it is.
    pub name: String,
    /// A number for each period.
    pub values: Vec<Decimal>,
    /// Each as it is read: exact.
    pub texts: Vec<String>,
}

impl Series {
    /// Amounts of money.
    pub fn amounts(name: &str, values: Vec<Decimal>) -> Self {
        let texts = values.iter().map(|value| amount(*value)).collect();
        Self { name: name.to_owned(), values, texts }
    }

    /// Counts.
    pub fn counts(name: &str, values: &[i64]) -> Self {
        Self {
            name: name.to_owned(),
            values: values.iter().map(|value| Decimal::from(*value)).collect(),
            texts: values.iter().map(fmt::count).collect(),
        }
    }

    /// The numbers as near as a drawing needs them.
    fn drawn(&self) -> Vec<f64> {
        self.values.iter().map(|value| value.to_f64().unwrap_or_default()).collect()
    }
}

/// `1,234.50`.
fn amount(value: Decimal) -> String {
    let (whole, cents) = fmt::amount(value);
    format!("{whole}{cents}")
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
    /// The first day of each period, as `YYYY-MM-DD`, the earliest first.
    pub days: Vec<String>,
    /// What each period is called in the table.
    pub names: Vec<String>,
    /// A bar for each period.
    pub bars: Series,
    /// A point of a line for each period.
    pub line: Option<Series>,
}

impl Chart {
    /// The chart with its table, the latest period first.
    pub fn new(content: Content<'_>) -> Self {
        let figure = figure(&content);
        let Content { id, title, legend, period, unit, names, bars, line, .. } = content;
        let series: Vec<&Series> = [Some(&bars), line.as_ref()].into_iter().flatten().collect();
        let heading = |one: &&Series| format!("{} ({unit})", one.name);
        let row = |(index, name): (usize, &String)| {
            let numbers = series.iter().filter_map(|one| one.texts.get(index).cloned());
            std::iter::once(name.clone()).chain(numbers).collect()
        };
        Self {
            summary: fmt::counted(names.len() as i64, &period.to_ascii_lowercase()),
            columns: std::iter::once(period.to_owned()).chain(series.iter().map(heading)).collect(),
            rows: names.iter().enumerate().rev().map(row).collect(),
            id,
            title,
            legend,
            figure,
        }
    }

    /// A client's spend by day.
    pub fn spend(id: &'static str, title: String, words: SpendWords<'_>, trend: &SpendTrend) -> Self {
        let days: Vec<String> = trend.days.iter().map(|day| day.day.to_string()).collect();
        Self::new(Content {
            id,
            title,
            legend: words.legend.to_owned(),
            period: words.period,
            unit: &trend.currency,
            axis: words.axis,
            names: days.clone(),
            days,
            bars: Series::amounts(words.bars, trend.days.iter().map(|day| day.spend).collect()),
            line: Some(Series::amounts(words.line, trend.days.iter().map(|day| day.average()).collect())),
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

/// Plotly's JSON of a chart, fit for a `<script>` element.
fn figure(content: &Content<'_>) -> String {
    const HOVER: &str = "%{hovertext}";
    let hover = |series: &Series| {
        series.texts.iter().map(|text| format!("{text} {}", content.unit)).collect::<Vec<_>>()
    };
    let bars = &content.bars;
    let mut plot = Plot::new();
    let drawn = Bar::new(content.days.clone(), bars.drawn())
        .name(&bars.name)
        .hover_text_array(hover(bars))
        .hover_template(HOVER)
        .opacity(if content.line.is_some() { 0.5 } else { 0.8 })
        .marker(Marker::new().color("var(--accent)"));
    plot.add_trace(if content.days.len() == 1 { drawn.width(DAY_MS / 2.0) } else { drawn });
    if let Some(line) = &content.line {
        plot.add_trace(
            Scatter::new(content.days.clone(), line.drawn())
                .name(&line.name)
                .mode(Mode::Lines)
                .hover_text_array(hover(line))
                .hover_template(HOVER)
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
        .x_axis(days_axis(axis(content.period), &content.days))
        .y_axis(
            axis(content.axis.unwrap_or(content.unit))
                .range_mode(RangeMode::ToZero)
                .fixed_range(true)
                .separate_thousands(true),
        )
}

/// The axis of the periods. Around a single one there is a day to either side: Plotly would show the
/// milliseconds around its beginning.
fn days_axis(axis: Axis, days: &[String]) -> Axis {
    let axis = axis.type_(AxisType::Date).hover_format("%Y-%m-%d").show_grid(false);
    let [day] = days else { return axis };
    let Ok(day) = day.parse::<NaiveDate>() else { return axis };
    let beside = [day.pred_opt(), day.succ_opt()].map(|other| other.unwrap_or(day).to_string());
    axis.range(beside.to_vec()).dtick(DAY_MS).tick_format("%Y-%m-%d")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(name: &str) -> Chart {
        Chart::new(Content {
            id: "test",
            title: "Spend".to_owned(),
            legend: String::new(),
            period: "Day",
            unit: name,
            axis: None,
            days: vec!["2026-01-01".to_owned(), "2026-01-02".to_owned()],
            names: vec!["2026-01-01".to_owned(), "2026-01-02".to_owned()],
            bars: Series::amounts("Spent", vec![Decimal::new(12_345_678_901, 4), Decimal::ZERO]),
            line: None,
        })
    }

    #[test]
    fn the_table_is_exact_and_the_figure_near() {
        let chart = chart("USD");
        assert_eq!(chart.columns, ["Day", "Spent (USD)"]);
        assert_eq!(chart.rows, [["2026-01-02", "0.00"], ["2026-01-01", "1,234,567.8901"]]);
        let figure: serde_json::Value = serde_json::from_str(&chart.figure).unwrap();
        assert_eq!(figure["data"][0]["y"][0], 1_234_567.890_1);
        assert_eq!(figure["data"][0]["hovertext"][0], "1,234,567.8901 USD");
        assert_eq!(figure["layout"]["yaxis"]["title"]["text"], "USD");
        assert!(!chart.figure.contains("http"), "{}", chart.figure);
    }

    #[test]
    fn a_single_day_stands_between_its_neighbours() {
        let day = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();
        let axis = serde_json::to_value(days_axis(Axis::new(), &[day.to_string()])).unwrap();
        assert_eq!(axis["range"], serde_json::json!(["2026-02-28", "2026-03-02"]));
        let two = serde_json::to_value(days_axis(Axis::new(), &["2026-03-01".into(), "2026-03-02".into()]));
        assert!(two.unwrap().get("range").is_none());
    }

    #[test]
    fn a_figure_cannot_end_its_element() {
        let text = chart("</script><b>").render().unwrap();
        assert_eq!(text.matches("</script>").count(), 1, "{text}");
    }
}
