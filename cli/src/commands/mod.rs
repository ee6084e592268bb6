//! The commands beside `up`, a file each.

pub mod config;
pub mod demo;
pub mod doctor;
pub mod failures;
mod flows;
pub mod generate;
pub mod ingest;
mod ingest_options;
pub mod inspect;
pub mod migrate;
pub mod nightly;
pub mod queues;
pub mod ready;
pub mod restored;
pub mod roles;
pub mod run_etl;
pub mod runs;
pub mod schedules;
pub mod summaries;
pub mod uploads;
pub mod users;
pub mod with_services;
pub mod workers;
