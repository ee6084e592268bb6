//! The access table: every route once, and who may reach it. A route that is mounted but not listed cannot be
//! reached.

use crate::error::ApiError;
use axum::http::{Method, StatusCode, header};
use shared::auth::Role;

/// Who may reach a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody, without logging in.
    Public,
    /// Every role.
    Readers,
    /// Who may hand in files, register account holders, list stocks and place orders.
    Uploaders,
    /// Who may retry, cancel, clone, pause and limit, and change what is known of clients.
    Operators,
    /// Who may manage users and keys.
    Admins,
}

impl Who {
    /// The roles that belong to it.
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::Public | Self::Readers => Role::ALL,
            Self::Uploaders => &[Role::Operator, Role::Admin, Role::Integration],
            Self::Operators => &[Role::Operator, Role::Admin],
            Self::Admins => &[Role::Admin],
        }
    }

    /// Whether a role belongs to it.
    pub fn contains(self, role: Role) -> bool {
        self.roles().contains(&role)
    }
}

/// One line of the access table.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The method; GET stands for HEAD too.
    pub method: &'static Method,
    /// The path's pattern, as it is mounted.
    pub path: &'static str,
    /// Who may.
    pub who: Who,
}

impl Rule {
    /// Whether nobody has to log in.
    pub fn is_public(&self) -> bool {
        self.who == Who::Public
    }
}

const fn get(path: &'static str, who: Who) -> Rule {
    Rule { method: &Method::GET, path, who }
}

const fn post(path: &'static str, who: Who) -> Rule {
    Rule { method: &Method::POST, path, who }
}

const fn put(path: &'static str, who: Who) -> Rule {
    Rule { method: &Method::PUT, path, who }
}

const fn patch(path: &'static str, who: Who) -> Rule {
    Rule { method: &Method::PATCH, path, who }
}

const fn delete(path: &'static str, who: Who) -> Rule {
    Rule { method: &Method::DELETE, path, who }
}

/// The access table: every route there is, JSON and pages alike.
pub const ACCESS: &[Rule] = &[
    get("/", Who::Public),
    get("/livez", Who::Public),
    get("/readyz", Who::Public),
    get("/metrics", Who::Readers),
    get("/openapi.json", Who::Public),
    get("/docs", Who::Public),
    get("/docs/", Who::Public),
    get("/docs/{*rest}", Who::Public),
    // Clients of the replaced services (compat/): A …
    post("/token", Who::Public),
    post("/token/", Who::Public),
    post("/token/refresh", Who::Public),
    post("/token/refresh/", Who::Public),
    post("/token/verify", Who::Public),
    post("/token/verify/", Who::Public),
    post("/token/logout", Who::Public),
    post("/token/logout/", Who::Public),
    get("/transactions/{id}", Who::Readers),
    get("/transactions/{id}/", Who::Readers),
    post("/api/token", Who::Public),
    post("/api/token/", Who::Public),
    post("/api/token/refresh", Who::Public),
    post("/api/token/refresh/", Who::Public),
    post("/api/token/verify", Who::Public),
    post("/api/token/verify/", Who::Public),
    post("/api/token/logout", Who::Public),
    post("/api/token/logout/", Who::Public),
    get("/api/transactions/{id}", Who::Readers),
    get("/api/transactions/{id}/", Who::Readers),
    // … B …
    post("/api/add-transaction", Who::Uploaders),
    post("/api/add-transaction/", Who::Uploaders),
    get("/api/transactions", Who::Readers),
    get("/api/transactions/", Who::Readers),
    get("/api/transactions/average", Who::Readers),
    get("/api/transactions/average/", Who::Readers),
    get("/api/get-transactions", Who::Readers),
    get("/api/get-transactions/", Who::Readers),
    get("/api/get-transaction/{id}", Who::Readers),
    get("/api/get-transaction/{id}/", Who::Readers),
    delete("/api/delete-transactions", Who::Admins),
    delete("/api/delete-transactions/", Who::Admins),
    // As below.
    get("/ws/admin/transactions", Who::Public),
    get("/ws/admin/transactions/", Who::Public),
    // … C …
    get("/api/transactions/summary", Who::Readers),
    get("/api/transactions/summary/", Who::Readers),
    post("/api/notifications", Who::Uploaders),
    post("/api/notifications/", Who::Uploaders),
    get("/api/notifications/{id}", Who::Readers),
    get("/api/notifications/{id}/", Who::Readers),
    // … D …
    post("/users", Who::Uploaders),
    post("/users/", Who::Uploaders),
    get("/users/{username}", Who::Readers),
    get("/users/{username}/", Who::Readers),
    get("/stocks", Who::Readers),
    post("/stocks", Who::Uploaders),
    get("/stocks/", Who::Readers),
    post("/stocks/", Who::Uploaders),
    get("/stocks/{ticker}", Who::Readers),
    get("/stocks/{ticker}/", Who::Readers),
    post("/transactions", Who::Uploaders),
    post("/transactions/", Who::Uploaders),
    get("/transactions/{id}/{start}/{end}", Who::Readers),
    get("/transactions/{id}/{start}/{end}/", Who::Readers),
    // … and E.
    get("/summary/{id}", Who::Readers),
    get("/summary/{id}/", Who::Readers),
    get("/analytics/risk-profile/{id}", Who::Readers),
    get("/analytics/risk-profile/{id}/", Who::Readers),
    get("/analytics/spend-trend/{id}", Who::Readers),
    get("/analytics/spend-trend/{id}/", Who::Readers),
    get("/dashboard/{id}", Who::Readers),
    get("/dashboard/{id}/", Who::Readers),
    post("/upload", Who::Uploaders),
    post("/upload/", Who::Uploaders),
    // JSON
    post("/api/v1/token", Who::Public),
    post("/api/v1/etl", Who::Operators),
    get("/api/v1/synthetic/{what}", Who::Operators),
    post("/api/v1/synthetic", Who::Operators),
    post("/api/v1/nightly", Who::Operators),
    get("/api/v1/uploads", Who::Readers),
    post("/api/v1/uploads", Who::Uploaders),
    get("/api/v1/uploads/{id}", Who::Readers),
    get("/api/v1/uploads/{id}/rejects", Who::Readers),
    post("/api/v1/uploads/{id}/undo", Who::Operators),
    post("/api/v1/previews", Who::Uploaders),
    get("/api/v1/previews/{id}", Who::Uploaders),
    post("/api/v1/previews/{id}/load", Who::Uploaders),
    get("/api/v1/fx-rates", Who::Readers),
    post("/api/v1/fx-rates", Who::Operators),
    get("/api/v1/runs", Who::Readers),
    get("/api/v1/run-states", Who::Readers),
    get("/api/v1/runs/{id}", Who::Readers),
    get("/api/v1/runs/{id}/attempts", Who::Readers),
    get("/api/v1/runs/{id}/logs", Who::Readers),
    get("/api/v1/runs/{id}/children", Who::Readers),
    post("/api/v1/runs/{id}/retry", Who::Operators),
    post("/api/v1/runs/{id}/cancel", Who::Operators),
    post("/api/v1/runs/{id}/clone", Who::Operators),
    post("/api/v1/runs:retry", Who::Operators),
    post("/api/v1/runs:cancel", Who::Operators),
    get("/api/v1/schedules", Who::Readers),
    post("/api/v1/schedules", Who::Operators),
    get("/api/v1/schedules/{name}", Who::Readers),
    patch("/api/v1/schedules/{name}", Who::Operators),
    delete("/api/v1/schedules/{name}", Who::Operators),
    post("/api/v1/schedules/{name}/pause", Who::Operators),
    post("/api/v1/schedules/{name}/enable", Who::Operators),
    post("/api/v1/schedules/{name}/run", Who::Operators),
    get("/api/v1/schedules/{name}/ticks", Who::Readers),
    get("/api/v1/schedules/{name}/backfill", Who::Readers),
    post("/api/v1/schedules/{name}/backfill", Who::Operators),
    get("/api/v1/cron", Who::Readers),
    get("/api/v1/alerts", Who::Readers),
    post("/api/v1/alerts/{id}/acknowledge", Who::Operators),
    get("/api/v1/queues", Who::Readers),
    get("/api/v1/queues/{name}", Who::Readers),
    post("/api/v1/queues/{name}/pause", Who::Operators),
    post("/api/v1/queues/{name}/resume", Who::Operators),
    put("/api/v1/queues/{name}/limit", Who::Operators),
    get("/api/v1/kinds", Who::Readers),
    get("/api/v1/kinds/{name}", Who::Readers),
    post("/api/v1/kinds/{name}/pause", Who::Operators),
    post("/api/v1/kinds/{name}/resume", Who::Operators),
    get("/api/v1/workers", Who::Readers),
    get("/api/v1/workers/{id}", Who::Readers),
    get("/api/v1/failures", Who::Readers),
    get("/api/v1/failures/{fingerprint}", Who::Readers),
    post("/api/v1/failures/{fingerprint}/retry", Who::Operators),
    get("/api/v1/clients", Who::Readers),
    post("/api/v1/clients", Who::Uploaders),
    get("/api/v1/clients/by-username/{username}", Who::Readers),
    get("/api/v1/clients/{id}", Who::Readers),
    get("/api/v1/clients/{id}/trades", Who::Readers),
    get("/api/v1/clients/{id}/holdings", Who::Readers),
    get("/api/v1/clients/{id}/statement", Who::Readers),
    get("/api/v1/clients/{id}/balance", Who::Readers),
    get("/api/v1/stocks", Who::Readers),
    post("/api/v1/stocks", Who::Uploaders),
    get("/api/v1/stocks/{ticker}", Who::Readers),
    get("/api/v1/trades", Who::Readers),
    post("/api/v1/trades", Who::Uploaders),
    get("/api/v1/trades/{id}", Who::Readers),
    post("/api/v1/trades/{id}/reverse", Who::Operators),
    post("/api/v1/ledger/verify", Who::Operators),
    patch("/api/v1/clients/{id}", Who::Operators),
    get("/api/v1/clients/{id}/transactions", Who::Readers),
    get("/api/v1/clients/{id}/statistics", Who::Readers),
    get("/api/v1/clients/{id}/risk-profile", Who::Readers),
    get("/api/v1/clients/{id}/spend-trend", Who::Readers),
    get("/api/v1/clients/{id}/trades-summary", Who::Readers),
    get("/api/v1/transactions", Who::Readers),
    delete("/api/v1/transactions", Who::Admins),
    post("/api/v1/transactions", Who::Uploaders),
    post("/api/v1/transactions:batch", Who::Uploaders),
    get("/api/v1/transactions/stream", Who::Readers),
    // Who comes without credentials has to send them before anything else.
    get("/ws/transactions", Who::Public),
    get("/api/v1/transactions/{id}", Who::Readers),
    get("/api/v1/summaries", Who::Readers),
    post("/api/v1/summaries/refresh", Who::Operators),
    get("/api/v1/analytics/averages", Who::Readers),
    get("/api/v1/analytics/top-merchants", Who::Readers),
    get("/api/v1/analytics/top-clients", Who::Readers),
    get("/api/v1/analytics/breakdown", Who::Readers),
    post("/api/v1/summaries/rebuild", Who::Operators),
    post("/api/v1/summaries/verify", Who::Operators),
    get("/api/v1/notifications", Who::Readers),
    post("/api/v1/notifications", Who::Uploaders),
    get("/api/v1/notifications/{id}", Who::Readers),
    post("/api/v1/notifications/{id}/cancel", Who::Operators),
    get("/api/v1/deliveries", Who::Readers),
    get("/api/v1/deliveries/{id}", Who::Readers),
    post("/api/v1/deliveries/{id}/replay", Who::Operators),
    post("/api/v1/deliveries/{id}/mark-delivered", Who::Operators),
    post("/api/v1/deliveries:replay", Who::Operators),
    post("/api/v1/deliveries:mark-delivered", Who::Operators),
    get("/api/v1/webhook-endpoints", Who::Readers),
    post("/api/v1/webhook-endpoints", Who::Operators),
    get("/api/v1/webhook-endpoints/{id}", Who::Readers),
    patch("/api/v1/webhook-endpoints/{id}", Who::Operators),
    delete("/api/v1/webhook-endpoints/{id}", Who::Operators),
    get("/api/v1/webhook-endpoints/{id}/secret", Who::Operators),
    post("/api/v1/webhook-endpoints/{id}/rotate-secret", Who::Operators),
    post("/api/v1/webhook-endpoints/{id}/test", Who::Operators),
    get("/api/v1/providers", Who::Readers),
    put("/api/v1/circuits/{channel}/{name}", Who::Operators),
    get("/api/v1/events", Who::Readers),
    put("/api/v1/events/{event}", Who::Operators),
    post("/api/v1/events/{event}/subscriptions", Who::Operators),
    delete("/api/v1/events/{event}/subscriptions/{id}", Who::Operators),
    get("/api/v1/clients/{id}/channels", Who::Readers),
    put("/api/v1/clients/{id}/channels/{channel}", Who::Operators),
    get("/api/v1/users", Who::Admins),
    post("/api/v1/users", Who::Admins),
    get("/api/v1/users/{id}", Who::Admins),
    get("/api/v1/api-keys", Who::Admins),
    post("/api/v1/api-keys", Who::Admins),
    get("/api/v1/api-keys/{id}", Who::Admins),
    delete("/api/v1/api-keys/{id}", Who::Admins),
    // Pages
    get("/assets/{*path}", Who::Public),
    get("/ui/login", Who::Public),
    post("/ui/login", Who::Public),
    post("/ui/logout", Who::Readers),
    post("/ui/theme", Who::Readers),
    get("/ui", Who::Readers),
    get("/ui/live", Who::Readers),
    get("/ui/uploads", Who::Readers),
    post("/ui/uploads", Who::Uploaders),
    get("/ui/uploads/new", Who::Uploaders),
    get("/ui/uploads/{id}", Who::Readers),
    get("/ui/uploads/{id}/rejects", Who::Readers),
    post("/ui/uploads/{id}/cancel", Who::Operators),
    post("/ui/uploads/{id}/retry", Who::Operators),
    post("/ui/uploads/{id}/undo", Who::Operators),
    post("/ui/previews", Who::Uploaders),
    get("/ui/previews/{id}", Who::Uploaders),
    post("/ui/previews/{id}/load", Who::Uploaders),
    get("/ui/runs", Who::Readers),
    get("/ui/runs/{id}", Who::Readers),
    post("/ui/runs/{id}/retry", Who::Operators),
    post("/ui/runs/{id}/cancel", Who::Operators),
    get("/ui/runs/{id}/clone", Who::Operators),
    post("/ui/runs/{id}/clone", Who::Operators),
    post("/ui/runs:retry", Who::Operators),
    post("/ui/runs:cancel", Who::Operators),
    get("/ui/failures", Who::Readers),
    get("/ui/failures/{fingerprint}", Who::Readers),
    post("/ui/failures/{fingerprint}/retry", Who::Operators),
    get("/ui/schedules", Who::Readers),
    post("/ui/schedules", Who::Operators),
    get("/ui/schedules/new", Who::Operators),
    get("/ui/schedules/{name}", Who::Readers),
    get("/ui/schedules/{name}/edit", Who::Operators),
    post("/ui/schedules/{name}/edit", Who::Operators),
    post("/ui/schedules/{name}/pause", Who::Operators),
    post("/ui/schedules/{name}/enable", Who::Operators),
    post("/ui/schedules/{name}/delete", Who::Operators),
    get("/ui/schedules/{name}/run", Who::Operators),
    post("/ui/schedules/{name}/run", Who::Operators),
    get("/ui/schedules/{name}/backfill", Who::Operators),
    post("/ui/schedules/{name}/backfill", Who::Operators),
    post("/ui/alerts/{id}/acknowledge", Who::Operators),
    get("/ui/queues", Who::Readers),
    post("/ui/queues/{name}/pause", Who::Operators),
    post("/ui/queues/{name}/resume", Who::Operators),
    post("/ui/queues/{name}/limit", Who::Operators),
    post("/ui/kinds/{name}/pause", Who::Operators),
    post("/ui/kinds/{name}/resume", Who::Operators),
    get("/ui/workers", Who::Readers),
    get("/ui/workers/{id}", Who::Readers),
    get("/ui/clients", Who::Readers),
    get("/ui/clients/new", Who::Uploaders),
    post("/ui/clients", Who::Uploaders),
    get("/ui/clients/{id}", Who::Readers),
    get("/ui/clients/{id}/holdings", Who::Readers),
    get("/ui/clients/{id}/statement", Who::Readers),
    get("/ui/clients/{id}/edit", Who::Operators),
    post("/ui/clients/{id}/edit", Who::Operators),
    get("/ui/client-summaries", Who::Readers),
    post("/ui/client-summaries/refresh", Who::Operators),
    get("/ui/clients/{id}/transactions.csv", Who::Readers),
    get("/ui/transactions", Who::Readers),
    get("/ui/transactions/live", Who::Readers),
    get("/ui/transactions/{id}", Who::Readers),
    get("/ui/stocks", Who::Readers),
    post("/ui/stocks", Who::Uploaders),
    get("/ui/stocks/new", Who::Uploaders),
    get("/ui/stocks/{ticker}", Who::Readers),
    get("/ui/trades", Who::Readers),
    post("/ui/trades", Who::Uploaders),
    get("/ui/trades/new", Who::Uploaders),
    get("/ui/trades/{id}", Who::Readers),
    post("/ui/trades/{id}/reverse", Who::Operators),
    get("/ui/notifications", Who::Readers),
    post("/ui/notifications", Who::Uploaders),
    get("/ui/notifications/new", Who::Uploaders),
    get("/ui/notifications/replay", Who::Operators),
    post("/ui/notifications/replay", Who::Operators),
    get("/ui/notifications/undecided", Who::Readers),
    post("/ui/notifications/undecided", Who::Operators),
    get("/ui/notifications/{id}", Who::Readers),
    post("/ui/notifications/{id}/cancel", Who::Operators),
    post("/ui/deliveries/{id}/replay", Who::Operators),
    post("/ui/deliveries/{id}/delivered", Who::Operators),
    get("/ui/providers", Who::Readers),
    post("/ui/circuits/{channel}/{name}", Who::Operators),
    get("/ui/webhooks", Who::Readers),
    post("/ui/webhooks", Who::Operators),
    get("/ui/webhooks/new", Who::Operators),
    get("/ui/webhooks/{id}", Who::Readers),
    post("/ui/webhooks/{id}/edit", Who::Operators),
    post("/ui/webhooks/{id}/test", Who::Operators),
    post("/ui/webhooks/{id}/secret", Who::Operators),
    post("/ui/webhooks/{id}/rotate", Who::Operators),
    post("/ui/webhooks/{id}/enable", Who::Operators),
    post("/ui/webhooks/{id}/disable", Who::Operators),
    post("/ui/webhooks/{id}/delete", Who::Operators),
    get("/ui/sandbox", Who::Readers),
    get("/ui/events", Who::Readers),
    post("/ui/events/{event}/channels", Who::Operators),
    post("/ui/events/{event}/subscriptions", Who::Operators),
    post("/ui/events/{event}/subscriptions/{id}/delete", Who::Operators),
    post("/ui/clients/{id}/channels/{channel}", Who::Operators),
    get("/ui/analytics", Who::Readers),
    get("/ui/admin", Who::Readers),
    post("/ui/admin/etl", Who::Operators),
    post("/ui/admin/refresh", Who::Operators),
    post("/ui/admin/rebuild", Who::Operators),
    post("/ui/admin/verify", Who::Operators),
    post("/ui/admin/verify-ledger", Who::Operators),
    get("/ui/generate", Who::Operators),
    post("/ui/generate", Who::Operators),
    get("/ui/fx-rates", Who::Readers),
    post("/ui/fx-rates", Who::Operators),
];

/// The table's line of a route.
pub fn rule(method: &Method, path: &str) -> Option<&'static Rule> {
    ACCESS.iter().find(|rule| rule.path == path && rule.method == method)
}

/// The value of `Allow` for a path.
pub fn allowed_methods(path: &str) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for rule in ACCESS.iter().filter(|rule| rule.path == path) {
        methods.push(rule.method.as_str());
        if rule.method == Method::GET {
            methods.push("HEAD");
        }
    }
    methods.push("OPTIONS");
    methods.join(", ")
}

/// The answer to a method that a path does not have.
pub fn method_not_allowed(path: &str) -> ApiError {
    let allow = allowed_methods(path);
    let detail = format!("This path answers to {allow}.");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
        .with(header::ALLOW, &allow)
}
