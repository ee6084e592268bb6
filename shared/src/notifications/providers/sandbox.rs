//! Sends nothing: what would have been sent is on record with the delivery, and the sandbox page shows it.
//! URL: `sandbox:`, for every channel.

use super::{Kind, Message, Provider, Receipt, SendError};
use crate::notifications::model::Channel;
use futures::future::BoxFuture;
use std::sync::Arc;

pub(super) const KIND: Kind =
    Kind { scheme: "sandbox", channels: Channel::ALL, parameters: &[], open: |_, _| Ok(Arc::new(Sandbox)) };

struct Sandbox;

impl Provider for Sandbox {
    fn repeats_safely(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, _: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        let response = "kept in the sandbox; nothing was sent".to_owned();
        Box::pin(async { Ok(Receipt { status_code: None, response }) })
    }
}
