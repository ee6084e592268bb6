//! `millrace migrate`.

use crate::{
    accounts,
    output::{remark, say},
    services::Services,
};
use anyhow::{Context, bail};
use clap::Args;
use diesel_async::AsyncPgConnection;
use shared::{config::SettingsConfig, db, settings::Settings};

/// The database's schema.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Change nothing; say what is to be applied, and fail if there is something.
    #[arg(long)]
    check: bool,
}

/// `millrace migrate`, with `--check` or without.
pub async fn execute(args: &Migrate) -> anyhow::Result<()> {
    let services = Services::find()?;
    if args.check { check(&services).await } else { migrate(&services).await }
}

/// Says how the schema stands to this version.
async fn check(services: &Services) -> anyhow::Result<()> {
    let pool = services.pool("millrace-migrate")?;
    let mut conn = pool.get().await.context("the database does not answer")?;
    let state = db::schema_state(&mut conn).await?;
    if !state.unknown.is_empty() {
        remark(format!(
            "The database has {} that this version does not know ({}): a newer one has migrated it. This version goes \
             on working with it, as far as the newer one's notes on upgrading say so.",
            counted(state.unknown.len()),
            state.unknown.join(", ")
        ));
    }
    for migration in &state.pending {
        say(format!("to be applied: {migration}"));
    }
    if !state.pending.is_empty() {
        bail!("{} to be applied: run `millrace migrate`", counted(state.pending.len()));
    }
    say("The schema is up to date.");
    Ok(())
}

fn counted(migrations: usize) -> String {
    if migrations == 1 { "1 migration".to_owned() } else { format!("{migrations} migrations") }
}

/// Brings the schema up to date, fixes the settings, makes the administrator that the environment
/// describes. Repeating it changes nothing.
async fn migrate(services: &Services) -> anyhow::Result<()> {
    // Before anything changes.
    let settings = SettingsConfig::from_env()?;
    accounts::described_admin()?;
    let ran = db::migrate(&services.database).await?;
    let pool = services.pool("millrace-migrate")?;
    let mut conn = pool.get().await.context("the database does not answer")?;
    let conn: &mut AsyncPgConnection = &mut conn;
    let settings = Settings::fix(conn, &settings).await?;
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
