//! The installation's fixed facts (table `settings`): reporting zone, default currency, signing key.

use crate::{config::SettingsConfig, db::DbError, schema::settings};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What the first migration fixed.
#[derive(Clone)]
pub struct Settings {
    /// What "a day" is.
    pub zone: chrono_tz::Tz,
    /// Currency of rows that name none.
    pub currency: String,
    /// Key that signs access tokens.
    pub signing_key: Vec<u8>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Settings {{ zone: {}, currency: {} }}", self.zone, self.currency)
    }
}

impl Settings {
    /// Writes the settings unless they are there, and returns those in force.
    pub async fn fix(conn: &mut AsyncPgConnection, config: &SettingsConfig) -> Result<Self, DbError> {
        let mut key = [0u8; 48];
        rand::fill(&mut key);
        diesel::insert_into(settings::table)
            .values((
                settings::reporting_zone.eq(config.zone.name()),
                settings::default_currency.eq(&config.currency),
                settings::signing_key.eq(key.as_slice()),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
        let fixed = Self::load(conn).await?;
        if fixed.zone != config.zone || fixed.currency != config.currency {
            tracing::warn!(
                zone = %fixed.zone, currency = %fixed.currency,
                "MILLRACE_ZONE and MILLRACE_CURRENCY were fixed by the first migration; the stored values hold"
            );
        }
        Ok(fixed)
    }

    /// Reads the settings.
    pub async fn load(conn: &mut AsyncPgConnection) -> Result<Self, DbError> {
        let (zone, currency, signing_key): (String, String, Vec<u8>) = settings::table
            .select((settings::reporting_zone, settings::default_currency, settings::signing_key))
            .first(conn)
            .await
            .map_err(|error| match error {
                diesel::result::Error::NotFound => {
                    DbError::Migrate("the database has no settings yet: run `millrace migrate`".to_owned())
                }
                other if other.to_string().contains("relation \"settings\" does not exist") => {
                    DbError::Migrate("the database has no schema yet: run `millrace migrate`".to_owned())
                }
                other => DbError::Query(other),
            })?;
        let zone = zone.parse().map_err(|_| DbError::Migrate(format!("unknown zone {zone} in settings")))?;
        Ok(Self { zone, currency, signing_key })
    }
}
