//! The harness: a database per test, the application in this process or as real processes, and
//! waiting that ends as soon as what is waited for is there.
//!
//! It needs `DATABASE_URL` (a role that may create databases) and `REDIS_URL`; `./run test` starts
//! private servers and sets both.

pub mod app;
pub mod browser;
pub mod chaos;
pub mod database;
pub mod exposition;
pub mod faults;
pub mod files;
pub mod fleet;
pub mod kinds;
pub mod listener;
pub mod market;
pub mod postbox;
pub mod processes;
pub mod receivers;
pub mod record;
pub mod wait;
pub mod workbooks;

pub use app::{App, AppOptions};
pub use database::TestDatabase;
pub use fleet::Fleet;
pub use listener::Listener;
pub use wait::eventually;
