//! The commands beside `up`, a file each.

pub mod config;
pub mod demo;
pub mod generate;
pub mod ingest;
pub mod migrate;
pub mod roles;
pub mod users;
pub mod with_services;
