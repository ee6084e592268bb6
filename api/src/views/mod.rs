//! JSON types, one file a domain. They are the API's contract: a column that is renamed in the database
//! keeps its name here.

pub mod accounts;
pub mod analytics;
pub mod clients;
pub mod endpoints;
pub mod events;
pub mod failures;
pub mod fx_rates;
pub mod kinds;
pub mod live;
pub mod notifications;
pub mod previews;
pub mod providers;
pub mod queues;
pub mod quick;
pub mod runs;
pub mod schedules;
pub mod stocks;
pub mod summaries;
pub mod trades;
pub mod transactions;
pub mod uploads;
pub mod words;
pub mod workers;
