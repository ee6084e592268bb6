//! The HTTP side of Millrace: JSON routes under `/api/v1`, pages under `/ui`. A handler validates,
//! writes rows and a run in one transaction, and answers; everything slow is a run.

pub mod access;
pub mod actions;
mod app;
pub mod auth;
pub mod compat;
pub mod error;
mod export;
pub mod intake;
pub mod kept;
mod linger;
mod list;
mod mending;
mod metrics;
pub mod middleware;
pub mod openapi;
pub mod pages;
pub mod params;
mod proven;
pub mod realtime;
pub mod router;
pub mod routes;
pub mod upload_params;
pub mod views;

pub use app::{AppState, GRACE, app, serve};
pub use metrics::serve_metrics;
