//! Clients as JSON.

use super::words;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use shared::clients::{AccountType, Client, ClientStatus, Contact, RiskTolerance};
use utoipa::ToSchema;

/// One client. Amounts are in `currency`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientView {
    /// Its id, as files and other systems know it.
    pub client_id: String,
    /// The name under which it trades, if it was registered with one.
    pub username: Option<String>,
    /// Full name.
    pub name: Option<String>,
    /// E-mail.
    pub email: Option<String>,
    /// Birthday.
    pub date_of_birth: Option<NaiveDate>,
    /// Country, as given.
    pub country: Option<String>,
    /// Kind of account.
    #[schema(schema_with = words::account_type)]
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
    #[schema(schema_with = words::risk_tolerance)]
    pub risk_tolerance: Option<RiskTolerance>,
    /// Currency of the account.
    pub currency: String,
    /// Balance that the account began with.
    pub opening_balance: Decimal,
    /// What the client has; never negative.
    pub balance: Decimal,
    /// What the client owes; never negative.
    pub debt: Decimal,
    /// `suspended` while in debt or suspended by an operator, else `active`.
    #[schema(schema_with = words::client_status)]
    pub status: ClientStatus,
    /// Since when an operator suspended it.
    pub suspended_at: Option<DateTime<Utc>>,
    /// Whether no file has said who it is: it is known from transactions, and from what operators have typed.
    pub stub: bool,
    /// When it was first seen.
    pub created_at: DateTime<Utc>,
    /// Tells these values of name, email, phone_number, telegram_chat_id, address and country from others: whoever changes them
    /// sends it along.
    #[schema(example = "9f86d081884c7d65")]
    pub contact_version: String,
}

impl From<Client> for ClientView {
    fn from(client: Client) -> Self {
        Self {
            contact_version: Contact::of(&client).version(),
            balance: client.balance(),
            debt: client.debt(),
            status: client.status(),
            client_id: client.client_id,
            username: client.username,
            name: client.name,
            email: client.email,
            date_of_birth: client.date_of_birth,
            country: client.country,
            account_type: client.account_type,
            account_open_date: client.account_open_date,
            phone_number: client.phone_number,
            telegram_chat_id: client.telegram_chat_id,
            address: client.address,
            risk_tolerance: client.risk_tolerance,
            currency: client.currency,
            opening_balance: client.opening_balance,
            suspended_at: client.suspended_at,
            stub: client.stub,
            created_at: client.created_at,
        }
    }
}
