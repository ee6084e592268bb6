//! `millrace migrate`.

use crate::{accounts, output::say, services::Services};
use anyhow::Context;
use diesel_async::AsyncPgConnection;
use shared::{config::SettingsConfig, db, settings::Settings};

/// Brings the schema up to date, fixes the settings, makes the administrator that the environment
/// describes. Repeating it changes nothing.
pub async fn migrate() -> anyhow::Result<()> {
    let services = Services::find()?;
    let ran = db::migrate(&services.database).await?;
    let pool = services.pool("millrace-migrate")?;
    let mut conn = pool.get().await.context("the database does not answer")?;
    let conn: &mut AsyncPgConnection = &mut conn;
    let settings = Settings::fix(conn, &SettingsConfig::from_env()?).await?;
    match ran.len() {
        0 => say("The schema is up to date."),
        _ => ran.iter().for_each(|migration| say(format!("migrated {migration}"))),
    }
    say(format!("Days are days in {}, the default currency is {}.", settings.zone, settings.currency));
    if let Some(username) = accounts::admin_from_env(conn).await? {
        say(format!("Made the administrator {username}."));
    }
    Ok(())
}
