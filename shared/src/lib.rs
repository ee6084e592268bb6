//! The domains of Millrace and what they stand on: configuration, database, storage, clock.
//! Everything that the api, the worker, the scheduler and the command line share lives here; none of
//! them talks to another except through PostgreSQL.

#[macro_use]
mod text_enum;

pub mod analytics;
pub mod audit;
pub mod auth;
pub mod cache;
pub mod clients;
pub mod clock;
pub mod config;
pub mod db;
pub mod feed;
pub mod fixed;
pub mod fx;
pub mod gather;
pub mod idempotency;
pub mod ids;
pub mod ledger;
pub mod look;
pub mod metrics;
pub mod money;
pub mod notifications;
pub mod nul;
pub mod pagination;
pub mod restored;
pub mod runs;
pub mod schedules;
#[expect(missing_docs, reason = "the table! macro writes items without documentation")]
pub mod schema;
pub mod settings;
pub mod stocks;
pub mod storage;
pub mod summaries;
pub mod synthetic;
pub mod telemetry;
pub mod tls;
pub mod trades;
pub mod transactions;
pub mod uploads;
