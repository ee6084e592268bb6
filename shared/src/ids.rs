//! Ids as types, so that a run's id is never passed where an upload's belongs.

/// Declares id newtypes over UUID v7 (their order is the order of creation).
macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize,
                 serde::Deserialize, schemars::JsonSchema, diesel::expression::AsExpression,
                 diesel::deserialize::FromSqlRow)]
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// A fresh id.
            pub fn generate() -> Self {
                Self(uuid::Uuid::now_v7())
            }

            /// When it was made, to the millisecond.
            pub fn created_at(self) -> chrono::DateTime<chrono::Utc> {
                let mut millis = [0; 8];
                millis[2..].copy_from_slice(&self.0.as_bytes()[..6]);
                chrono::DateTime::from_timestamp_millis(i64::from_be_bytes(millis)).unwrap_or_default()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl<DB: diesel::backend::Backend> diesel::deserialize::FromSql<diesel::sql_types::Uuid, DB> for $name
        where
            uuid::Uuid: diesel::deserialize::FromSql<diesel::sql_types::Uuid, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> diesel::deserialize::Result<Self> {
                uuid::Uuid::from_sql(bytes).map(Self)
            }
        }

        impl<DB: diesel::backend::Backend> diesel::serialize::ToSql<diesel::sql_types::Uuid, DB> for $name
        where
            uuid::Uuid: diesel::serialize::ToSql<diesel::sql_types::Uuid, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut diesel::serialize::Output<'b, '_, DB>) -> diesel::serialize::Result {
                self.0.to_sql(out)
            }
        }
    )+};
}

uuid_ids! {
    /// A run of a job.
    RunId,
    /// One claim of a run: the fence that lets only the claimer close it.
    ClaimToken,
    /// One start of a worker process.
    WorkerId,
    /// An uploaded file.
    UploadId,
    /// A file that somebody is looking at before loading it.
    PreviewId,
    /// An event of the ledger.
    JournalId,
    /// A buy or sell order.
    TradeId,
    /// A request to delete all transactions.
    DeletionId,
    /// A job on a clock.
    ScheduleId,
    /// A person or program that logs in.
    UserId,
    /// An API key.
    ApiKeyId,
    /// A message.
    NotificationId,
    /// A message to one recipient over one channel.
    DeliveryId,
    /// Where a program wants to be told.
    EndpointId,
}

/// The first id of a moment: the order of ids is the order of times.
pub fn first_of(at: chrono::DateTime<chrono::Utc>) -> uuid::Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    // What is not a whole millisecond belongs to the next: times of ids are whole ones.
    let millis = millis + u64::from(!at.timestamp_subsec_nanos().is_multiple_of(1_000_000));
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    uuid::Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_lies_between_the_ids_before_it_and_those_from_it_on() {
        let before = TradeId::generate();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let moment = TradeId::generate().created_at();
        assert!(before.0 < first_of(moment));
        assert!(first_of(moment) <= TradeId::generate().0);
        let within = moment + chrono::TimeDelta::microseconds(1);
        assert!(first_of(moment) < first_of(within));
    }
}
