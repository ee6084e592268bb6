//! `millrace demo`: what `up` does, and a sample file loaded through the API.

use crate::{
    client::ApiClient,
    follow::follow,
    output::{say, thousands},
    up::{self, Running},
};
use anyhow::{Context, ensure};
use chrono::Duration;
use clap::Args;
use shared::{
    auth::{
        Role,
        service::{NewApiKey, create_api_key},
    },
    clock::{Clock, SystemClock},
    synthetic::{self, DataFormat, DataKind, DataRequest, Dataset, TRADING_CLIENTS, TransactionForm},
};
use std::{
    fs::File,
    path::{Path, PathBuf},
};
use tokio_util::sync::CancellationToken;

/// Trades of the recipe's sample.
const ETL_ROWS: u64 = 5_000;

/// A look at the system with data in it.
#[derive(Debug, Args)]
pub struct Demo {
    /// Stop when the sample is loaded; fails unless every row is accounted for.
    #[arg(long)]
    exit: bool,
    /// Rows of the sample file.
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    /// Seed of the sample file; another seed gives another file.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Starts everything, loads the sample, stays up unless told otherwise.
pub async fn demo(args: &Demo, stop: CancellationToken) -> anyhow::Result<()> {
    up::run(stop.clone(), async |running| {
        running.announce();
        fill_etl(&running.services.storage.data_dir)?;
        load_sample(args, running).await?;
        if !args.exit {
            say(format!("Look at it at {}. Ctrl-C stops it.", running.url()));
            stop.cancelled().await;
        }
        Ok(())
    })
    .await
}

async fn load_sample(args: &Demo, running: &Running) -> anyhow::Result<()> {
    let path = write_sample(args, &running.services.storage.data_dir)?;
    let name =
        path.file_name().map_or_else(|| "sample".to_owned(), |name| name.to_string_lossy().into_owned());
    let client = client(running).await?;
    let accepted = client.upload(&path, &[]).await?;
    // The server has a copy of its own; one that stays is overwritten by the next demo.
    let _ = std::fs::remove_file(&path);
    if accepted.already_uploaded {
        say(format!("{name} was loaded by an earlier demo, so nothing is added; these are its counts:"));
    }
    let counts = follow(&name, async || client.find_upload(&accepted.id).await).await?;
    let expected = i64::try_from(args.rows).unwrap_or(i64::MAX);
    ensure!(
        counts.read == expected,
        "{} rows were expected, {} are accounted for",
        thousands(expected),
        thousands(counts.read)
    );
    Ok(())
}

/// Writes the files of the recipe `run-etl` to where it looks for them by default, if they are not there.
fn fill_etl(data_dir: &Path) -> anyhow::Result<()> {
    let directory = data_dir.join("etl");
    let file = |name: &str, request: DataRequest| {
        let path = directory.join(name);
        if path.exists() {
            return Ok(false);
        }
        // Under another name first: half a file is never taken for a whole one.
        let part = directory.join(format!("{name}.part"));
        let written = || -> anyhow::Result<()> {
            std::fs::create_dir_all(&directory)?;
            synthetic::write(&Dataset::try_from(&request)?, File::create(&part)?)?;
            Ok(std::fs::rename(&part, &path)?)
        };
        written().map(|()| true).with_context(|| format!("cannot write {}", path.display()))
    };
    let clients = file(
        "clients.csv",
        DataRequest {
            what: Some(DataKind::Clients),
            num_rows: TRADING_CLIENTS.into(),
            ..DataRequest::default()
        },
    )?;
    let trades = file(
        "transactions.xlsx",
        DataRequest {
            form: Some(TransactionForm::A),
            num_rows: ETL_ROWS,
            format: Some(DataFormat::Xlsx),
            ..DataRequest::default()
        },
    )?;
    if clients || trades {
        say(format!("Sample files for `millrace run-etl` are in {}.", directory.display()));
    }
    Ok(())
}

/// The password of the administrator is known only to the start that made it; later demos make
/// themselves a key for an hour.
async fn client(running: &Running) -> anyhow::Result<ApiClient> {
    if let Some(admin) = &running.new_admin {
        return ApiClient::log_in(&running.url(), &admin.username, &admin.password).await;
    }
    let pool = running.services.pool("millrace-demo")?;
    let mut conn = pool.get().await.context("the database does not answer")?;
    let now = SystemClock.now();
    let new = NewApiKey {
        name: format!("demo {}", now.format("%Y-%m-%d %H:%M:%S%.3f")),
        role: Role::Operator,
        expires_at: Some(now + Duration::hours(1)),
        created_by: "demo".to_owned(),
    };
    let (_, key) = create_api_key(&mut conn, &new, now).await?;
    ApiClient::with_token(&running.url(), key)
}

fn write_sample(args: &Demo, data_dir: &Path) -> anyhow::Result<PathBuf> {
    let path = data_dir.join(format!("sample-{}-{}.csv", args.rows, args.seed));
    let request = DataRequest { num_rows: args.rows, seed: Some(args.seed), ..DataRequest::default() };
    let written = || -> anyhow::Result<()> {
        synthetic::write(&Dataset::try_from(&request)?, File::create(&path)?)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
