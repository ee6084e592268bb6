//! Tests through the front door, one module an area.

mod clients;
mod embedded;
mod engine;
mod malformed;
mod pages;
mod schedules;
mod statuses;
mod uploads;
