//! Record boundaries.
