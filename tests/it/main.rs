//! Tests through the front door, one module an area.

mod clients;
mod engine;
mod malformed;
mod pages;
mod statuses;
mod uploads;
