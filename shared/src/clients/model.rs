//! Clients as they are stored.

use crate::schema::clients;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use rust_decimal::Decimal;

text_enum! {
    /// What kind of account a client has.
    AccountType {
        /// Standard.
        Standard = "standard",
        /// Premium.
        Premium = "premium",
        /// Corporate.
        Corporate = "corporate",
    }
}

text_enum! {
    /// How much risk a client wants.
    RiskTolerance {
        /// Low.
        Low = "low",
        /// Medium.
        Medium = "medium",
        /// High.
        High = "high",
    }
}

text_enum! {
    /// Whether a client may act.
    ClientStatus {
        /// Neither in debt nor suspended by an operator.
        Active = "active",
        /// In debt, or suspended by an operator.
        Suspended = "suspended",
    }
}

/// One client. Amounts are in `currency`, with four decimals.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = clients, check_for_backend(diesel::pg::Pg))]
pub struct Client {
    /// Its id, as files and other systems know it.
    pub client_id: String,
    /// The name under which it trades, if it was registered with one; unique.
    pub username: Option<String>,
    /// Full name.
    pub name: Option<String>,
    /// E-mail, unique without regard to case.
    pub email: Option<String>,
    /// Birthday.
    pub date_of_birth: Option<NaiveDate>,
    /// Country, as given.
    pub country: Option<String>,
    /// Kind of account.
    pub account_type: Option<AccountType>,
    /// When the account was opened.
    pub account_open_date: Option<NaiveDate>,
    /// Phone number, as given.
    pub phone_number: Option<String>,
    /// Telegram chat.
    pub telegram_chat_id: Option<String>,
    /// Postal address; may have several lines.
    pub address: Option<String>,
    /// Appetite for risk.
    pub risk_tolerance: Option<RiskTolerance>,
    /// Currency of the account.
    pub currency: String,
    /// Balance that the account began with.
    pub opening_balance: Decimal,
    /// Cash position; negative is debt.
    pub position: Decimal,
    /// Whether no file has said who it is: it is known from transactions, and from what operators have typed.
    pub stub: bool,
    /// Since when an operator suspended it.
    pub suspended_at: Option<DateTime<Utc>>,
    /// When it was first seen.
    pub created_at: DateTime<Utc>,
}

impl Client {
    /// What people know it by: its name, else its username, else its id.
    pub fn label(&self) -> &str {
        self.name.as_deref().or(self.username.as_deref()).unwrap_or(&self.client_id)
    }

    /// What the client has.
    pub fn balance(&self) -> Decimal {
        self.position.max(Decimal::ZERO)
    }

    /// What the client owes.
    pub fn debt(&self) -> Decimal {
        (Decimal::ZERO - self.position).max(Decimal::ZERO)
    }

    /// Suspended while in debt or suspended by an operator, else active. `list_clients` says the same in SQL.
    pub fn status(&self) -> ClientStatus {
        if self.suspended_at.is_some() || self.position < Decimal::ZERO {
            ClientStatus::Suspended
        } else {
            ClientStatus::Active
        }
    }
}
