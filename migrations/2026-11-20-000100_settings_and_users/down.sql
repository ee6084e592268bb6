DROP TABLE audit_log, idempotency_keys, login_failures, api_keys, sessions, users, settings;
