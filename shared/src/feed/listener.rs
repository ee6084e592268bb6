//! Hearing PostgreSQL say that something was told: a notification that comes with the commit.

use futures::future::poll_fn;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, Error};
use tokio_util::task::AbortOnDropHandle;

/// A connection that listens, and on which more can be asked. Dropped, it closes.
pub struct Listener {
    /// The connection.
    pub client: Client,
    told: Arc<Notify>,
    driver: AbortOnDropHandle<()>,
}

impl Listener {
    /// Connects and listens.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let (client, mut connection) = crate::tls::connect_postgres(url).await?;
        let told = Arc::new(Notify::new());
        let bell = told.clone();
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    bell.notify_one();
                }
            }
        }));
        client.batch_execute("LISTEN millrace_feed").await?;
        Ok(Self { client, told, driver })
    }

    /// Returns when something was told since the last time.
    pub async fn told(&self) {
        self.told.notified().await;
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.driver.is_finished()
    }
}
