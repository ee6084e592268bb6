//! `millrace nightly`: generates the transactions of a day and loads them.

use super::flows::{Flow, Start, environment, has_server, say_loaded};
use crate::{access::Access, usage::Usage};
use chrono::NaiveDate;
use clap::Args;
use shared::synthetic::{
    TransactionForm,
    nightly::{self, NightlyData, NightlyRequest},
};

/// A day's transactions, generated and loaded: with --server through the API, without it straight in the database.
#[derive(Debug, Args)]
pub struct Nightly {
    /// The day; yesterday in the reporting zone if absent.
    #[arg(long)]
    day: Option<NaiveDate>,
    /// How many transactions; 1,000 if absent.
    #[arg(long)]
    rows: Option<u64>,
    /// Another seed than the day's own.
    #[arg(long)]
    seed: Option<u64>,
    /// Columns: wide (thirteen, the default), e (five) or a (eleven).
    #[arg(long)]
    form: Option<TransactionForm>,
    /// Wait until they are loaded and shown in the clients' summary; fails unless they are.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    access: Access,
}

/// Starts the flow of the day, or joins the one that runs.
pub async fn nightly(args: Nightly) -> anyhow::Result<()> {
    let mut flow = Flow { name: "the nightly flow", action: "nightly.run", path: "nightly", body: None };
    let result = if has_server(&args.access)? {
        let body = serde_json::json!({
            "day": args.day, "num_rows": args.rows, "seed": args.seed, "form": args.form,
        });
        flow.body = Some(body);
        flow.through_api(&args.access, args.wait).await?
    } else {
        let env = environment("millrace-nightly").await?;
        let (clock, zone) = (env.clock.as_ref(), env.settings.zone);
        let day = args.day.unwrap_or_else(|| nightly::yesterday(clock, zone));
        if day > nightly::today(clock, zone) {
            return Err(Usage::new(format!("--day: {day} has not begun in {zone}")));
        }
        let asked = NightlyRequest { day, num_rows: args.rows, seed: args.seed, form: args.form };
        let data = NightlyData::try_from(asked).map_err(|fault| {
            let option = if fault.field == "num_rows" { "rows" } else { fault.field };
            Usage::new(format!("--{option}: {}", fault.message))
        })?;
        flow.straight(&env, &Start::Nightly(data), args.wait).await?
    };
    if let Some(result) = result {
        say_loaded(result["day"].as_str().unwrap_or("transactions"), &result);
    }
    Ok(())
}
