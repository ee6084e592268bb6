//! Summaries: totals that are exact at every commit, and what is read from them.

pub mod jobs;
