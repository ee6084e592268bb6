//! Tests through the front door, one module an area.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod analytics;
mod calendars;
mod charts;
mod client_pages;
mod clients;
mod command_line;
mod compat;
mod compat_figures;
mod connections;
mod embedded;
mod engine;
mod etl;
mod formats;
mod fx_rates;
mod http;
mod ledger;
mod malformed;
mod metrics;
mod operators;
mod pages;
mod plans;
mod policies;
mod previews;
mod rebuild;
mod rejects;
mod schedules;
mod statuses;
mod stopped;
mod storage;
mod summaries;
mod tied;
mod trials;
mod twice;
mod undo;
mod uploads;
