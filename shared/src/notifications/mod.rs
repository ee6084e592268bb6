//! Telling people, and programs, what happened: each message to each recipient over each channel is a
//! delivery, each delivery a run, each attempt on record.
//!
//! A request, or an event, becomes a notification with its deliveries and their runs in one commit
//! (`service`). A run asks the channel's providers in order (`delivery`), if their circuits let it (`circuits`).

mod audience;
pub mod circuits;
pub mod daily;
mod delivery;
mod desk;
pub mod endpoints;
mod error;
pub mod events;
pub mod figures;
pub mod jobs;
pub mod model;
pub mod providers;
pub mod queries;
mod recipients;
mod recording;
pub mod request;
mod seats;
pub mod service;
pub mod subscriptions;
mod texts;
mod unsent;
pub mod values;
mod words;

pub use desk::NotificationDesk;
pub use error::NotificationError;
pub use events::Event;
