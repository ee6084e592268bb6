//! Users and roles, and the three ways to prove who one is: an access token (JWT), an API key, a
//! browser's session. Which role may do what is the api's access table, not decided here.

pub mod confirmation;
pub mod error;
pub mod model;
mod password;
pub mod queries;
pub mod refresh;
pub mod service;
pub mod token;

pub use confirmation::{CONFIRMATION_LIFE, is_confirmed, issue_confirmation};
pub use error::AuthError;
pub use model::{ApiKey, Role, Session, User};
pub use service::{
    NewApiKey, create_api_key, create_user, end_session, find_api_key, find_session, login, start_session,
};
pub use token::{AccessToken, issue_token, read_token};
