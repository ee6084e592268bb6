//! What reaches browsers by itself.

pub mod sse;
