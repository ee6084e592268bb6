//! What happens and is told of: to clients over the channels that an operator chose for the event, to
//! subscribers, to programs by their endpoints.

text_enum! {
    /// Something that people, or programs, can be told of.
    Event {
        /// A file has been loaded.
        UploadFinished = "upload_finished",
        /// What a client did on a day.
        DailySummary = "daily_summary",
        /// A client's trade was settled.
        TradeSettled = "trade_settled",
        /// A client's trade was rejected.
        TradeRejected = "trade_rejected",
        /// Runs were given up.
        RunDiscarded = "run_discarded",
        /// A schedule did not run as it should have.
        ScheduleMissed = "schedule_missed",
    }
}

impl Event {
    /// Whether it is a client's, who may be told of it.
    pub fn is_of_client(self) -> bool {
        matches!(self, Self::DailySummary | Self::TradeSettled | Self::TradeRejected)
    }
}

/// How many notifications were made of what happened.
#[derive(Debug, Default, serde::Serialize)]
pub struct Told {
    /// Events.
    pub events: usize,
    /// Notifications.
    pub notifications: usize,
}

/// Makes notifications of what was announced and is due.
pub(super) async fn announce(_context: &crate::runs::RunContext) -> Result<Told, crate::runs::JobError> {
    Ok(Told::default())
}
