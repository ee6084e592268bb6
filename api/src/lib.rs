//! The HTTP side of Millrace: JSON routes under `/api/v1`, pages under `/ui`. A handler validates,
//! writes rows and a run in one transaction, and answers; everything slow is a run.

mod app;

pub use app::{AppState, serve};
