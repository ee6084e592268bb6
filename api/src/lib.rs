//! The HTTP side of Millrace: JSON routes under `/api/v1`, pages under `/ui`. A handler validates,
//! writes rows and a run in one transaction, and answers; everything slow is a run.

mod app;
pub mod auth;
pub mod error;
pub mod list;
pub mod middleware;
pub mod openapi;
pub mod pages;
pub mod params;
pub mod router;
mod routes;

pub use app::{AppState, app, serve};
