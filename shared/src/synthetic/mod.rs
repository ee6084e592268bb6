//! Seeded data: the same seed gives the same bytes.
