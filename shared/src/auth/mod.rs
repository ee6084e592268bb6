//! Users, roles, tokens, sessions and API keys.
