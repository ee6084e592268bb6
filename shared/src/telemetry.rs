//! Logs: tracing to text or JSON on standard error.
