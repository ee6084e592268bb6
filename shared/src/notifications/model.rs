//! Notifications, their deliveries and attempts as they are stored.

text_enum! {
    /// A way to a person, or to a program.
    Channel {
        /// A mailbox.
        Email = "email",
        /// A phone.
        Sms = "sms",
        /// A Telegram chat.
        Telegram = "telegram",
        /// A program's URL.
        Webhook = "webhook",
    }
}
