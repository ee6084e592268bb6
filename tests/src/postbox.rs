//! Notifications of a test: asked for as the api does, and what became of their deliveries.

use crate::{App, eventually};
use shared::{
    config::NotificationsConfig,
    ids::{DeliveryId, EndpointId, NotificationId},
    notifications::{
        endpoints::{self, NewEndpoint},
        model::{Attempt, Channel, Delivery, DeliveryState, Notification, NotificationState},
        queries,
        request::{NotificationRequest, Wording, request_notification},
    },
};

/// Providers by channel; a channel that is not named is off.
pub fn providers(given: &[(Channel, &str)]) -> NotificationsConfig {
    let urls = |urls: &str| urls.split_whitespace().map(str::to_owned).collect();
    NotificationsConfig {
        providers: given.iter().map(|(channel, given)| (*channel, urls(given))).collect(),
        ..NotificationsConfig::usual(true)
    }
}

/// A plain message to addresses.
pub fn message(to: &[(Channel, &str)]) -> NotificationRequest {
    NotificationRequest {
        client_id: None,
        to: to.iter().map(|(channel, address)| (*channel, (*address).to_owned())).collect(),
        channels: Vec::new(),
        wording: Wording::Plain { title: "Settled".to_owned(), body: "490000 Rials".to_owned() },
        send_at: None,
        by: "test".to_owned(),
        key: None,
    }
}

impl App {
    /// Asks for a message to one address; its delivery.
    pub async fn notify(&self, channel: Channel, address: &str) -> DeliveryId {
        self.notify_all(&message(&[(channel, address)])).await.1[0]
    }

    /// Asks for a message; it and its deliveries.
    pub async fn notify_all(&self, request: &NotificationRequest) -> (NotificationId, Vec<DeliveryId>) {
        let accepted = request_notification(&self.env, request.clone()).await.expect("a notification");
        (accepted.notification.id, accepted.deliveries.iter().map(|delivery| delivery.id).collect())
    }

    /// Registers an endpoint that is told of no event.
    pub async fn endpoint(&self, url: &str) -> EndpointId {
        let new = NewEndpoint {
            url: url.to_owned(),
            client_id: None,
            description: String::new(),
            events: Vec::new(),
        };
        let mut conn = self.env.pool.get().await.expect("a connection");
        let endpoint = endpoints::register(&mut conn, &self.env.notifications, &new, "test").await;
        endpoint.expect("an endpoint").id
    }

    /// A delivery.
    pub async fn delivery(&self, id: DeliveryId) -> Delivery {
        let mut conn = self.env.pool.get().await.expect("a connection");
        queries::find_delivery(&mut conn, id).await.expect("the record").expect("a delivery")
    }

    /// A notification.
    pub async fn notification(&self, id: NotificationId) -> Notification {
        let mut conn = self.env.pool.get().await.expect("a connection");
        queries::find_notification(&mut conn, id).await.expect("the record").expect("a notification")
    }

    /// The attempts of a delivery.
    pub async fn delivery_attempts(&self, id: DeliveryId) -> Vec<Attempt> {
        let mut conn = self.env.pool.get().await.expect("a connection");
        queries::attempts_of(&mut conn, &[id]).await.expect("the record")
    }

    /// Waits until a delivery is in a state.
    pub async fn until_delivery(&self, id: DeliveryId, state: DeliveryState) -> Delivery {
        eventually(&format!("delivery {id} to be {state}"), || async {
            let delivery = self.delivery(id).await;
            (delivery.state == state).then_some(delivery)
        })
        .await
    }

    /// Waits until a delivery has had so many attempts, all of them ended; the delivery.
    pub async fn until_attempts(&self, id: DeliveryId, attempts: i32) -> Delivery {
        eventually(&format!("{attempts} attempts of delivery {id}"), || async {
            let delivery = self.delivery(id).await;
            (delivery.attempts >= attempts).then_some(delivery)
        })
        .await
    }

    /// Waits until a notification is in a state.
    pub async fn until_notification(&self, id: NotificationId, state: NotificationState) {
        eventually(&format!("notification {id} to be {state}"), || async {
            (self.notification(id).await.state == state).then_some(())
        })
        .await;
    }

    /// Lets whatever waits for its time begin now.
    pub async fn hurry(&self) {
        let hurried = "UPDATE runs SET run_at = now() WHERE state IN ('scheduled', 'available', 'retryable')";
        self.db.client.execute(hurried, &[]).await.expect("the record");
        self.env.doorbells.ring(shared::runs::Queue::Deliveries, 100);
    }

    /// The state of a delivery's run, and how many seconds it waits at least.
    pub async fn delivery_run(&self, id: DeliveryId) -> (String, f64) {
        let sql = "SELECT r.state, extract(epoch FROM r.run_at - now())::float8 FROM runs r
                   JOIN deliveries d ON d.run_id = r.id WHERE d.id = $1";
        let row = self.db.client.query_one(sql, &[&id.0]).await.expect("the record");
        (row.get(0), row.get(1))
    }
}
