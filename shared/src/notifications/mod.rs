//! Telling people, and programs, what happened: each message to each recipient over each channel is a
//! delivery, each delivery a run, each attempt on record.

pub mod model;
pub mod providers;
