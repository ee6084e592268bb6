//! Trades.
