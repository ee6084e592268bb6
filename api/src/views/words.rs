//! Schemas of enums that are spoken as words: the document lists exactly the words that the code knows.

use shared::{
    analytics::tops::TopBy,
    auth::Role,
    clients::{AccountType, ClientStatus, RiskTolerance},
    ledger::statement::LineKind,
    notifications::{
        Event,
        model::{AttemptOutcome, Channel, CircuitState, DeliveryState, Forced, NotificationState},
    },
    runs::{Queue, RunState, waiting::WaitingReason},
    summaries::{Calendar, SummaryMode},
    synthetic::{DataFormat, DataKind, Profile, TransactionForm},
    trades::{Reason, Side, TradeState},
    transactions::{TransactionKind, TransactionStatus},
    uploads::{
        UploadKind, UploadState,
        model::{ExistingClients, OnError, UnknownClients},
    },
};
use utoipa::openapi::{
    Array,
    schema::{ArrayBuilder, Object, ObjectBuilder, Type},
};

fn one_of(words: impl Iterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

macro_rules! word_schemas {
    ($($(#[$doc:meta])* $name:ident, $names:ident => $words:ty;)+) => {$(
        /// Schema of one word.
        pub fn $name() -> Object {
            one_of(<$words>::ALL.iter().map(|word| word.as_str()))
        }

        /// Schema of several words.
        pub fn $names() -> Array {
            ArrayBuilder::new().items($name()).build()
        }
    )+};
}

word_schemas! {
    role, roles => Role;
    account_type, account_types => AccountType;
    client_status, client_statuses => ClientStatus;
    risk_tolerance, risk_tolerances => RiskTolerance;
    queue, queues => Queue;
    run_state, run_states => RunState;
    waiting_reason, waiting_reasons => WaitingReason;
    summary_mode, summary_modes => SummaryMode;
    calendar, calendars => Calendar;
    top_by, top_bys => TopBy;
    transaction_kind, transaction_kinds => TransactionKind;
    transaction_status, transaction_statuses => TransactionStatus;
    side, sides => Side;
    trade_state, trade_states => TradeState;
    reason, reasons => Reason;
    line_kind, line_kinds => LineKind;
    upload_kind, upload_kinds => UploadKind;
    upload_state, upload_states => UploadState;
    unknown_clients, unknown_clients_list => UnknownClients;
    existing_clients, existing_clients_list => ExistingClients;
    on_error, on_errors => OnError;
    data_kind, data_kinds => DataKind;
    data_format, data_formats => DataFormat;
    transaction_form, transaction_forms => TransactionForm;
    profile, profiles => Profile;
    channel, channels => Channel;
    notification_state, notification_states => NotificationState;
    delivery_state, delivery_states => DeliveryState;
    attempt_outcome, attempt_outcomes => AttemptOutcome;
    circuit_state, circuit_states => CircuitState;
    forced, forced_list => Forced;
    event, events => Event;
}
