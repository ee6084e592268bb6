//! The executable `millrace`: one subcommand a role or command.

mod access;
mod accounts;
mod child;
mod client;
mod commands;
mod embedded;
mod follow;
mod heap;
mod open_files;
mod output;
mod roles;
mod services;
mod signals;
mod table;
mod up;
mod usage;
mod words;

use clap::{Parser, Subcommand};
use shared::telemetry::{self, LogConfig};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "millrace",
    version,
    about = "A transaction-data platform: files and live rows in, exact summaries out."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process; without DATABASE_URL and REDIS_URL on private servers.
    Up,
    /// Serve pages and API only.
    Api,
    /// Work on runs only.
    Worker,
    /// Make runs of what is due only; of several, one leads.
    Scheduler,
    /// Bring the database's schema up to date.
    Migrate(commands::migrate::Migrate),
    /// Tell a database that it was restored from a backup, before workers go on with it.
    Restored,
    /// Ask a server whether it is ready; for health checks.
    Ready(commands::ready::Ready),
    /// Look at the whole installation, and say how to mend what is wrong.
    Doctor(commands::doctor::Doctor),
    /// Make a user.
    CreateUser(commands::users::CreateUser),
    /// Make an administrator; also from MILLRACE_ADMIN_USERNAME, _EMAIL and _PASSWORD.
    CreateAdmin(commands::users::CreateAdmin),
    /// Write sample data: the same seed gives the same bytes.
    Generate(commands::generate::Generate),
    /// Load a file and wait until it is loaded.
    Ingest(commands::ingest::Ingest),
    /// Undo uploads.
    Uploads(commands::uploads::Uploads),
    /// Show how a file would be read: its form, its columns, its first rows.
    Inspect(commands::inspect::Inspect),
    /// Load the files of clients and transactions that MILLRACE_ETL_CLIENTS and _TRANSACTIONS name.
    RunEtl(commands::run_etl::RunEtl),
    /// Generate the transactions of a day and load them; a day has them once.
    Nightly(commands::nightly::Nightly),
    /// Count the transactions anew and mend every total that is wrong, while reading and loading go on.
    RebuildSummaries(commands::summaries::RebuildSummaries),
    /// Prove that what is kept is what it should be.
    Verify(commands::summaries::Verify),
    /// Refresh the materialized view of the clients' totals.
    RefreshMaterializedView(commands::summaries::RefreshMaterializedView),
    /// List, show, retry and cancel runs.
    Runs(commands::runs::Runs),
    /// List, make, change, pause and run jobs on a clock, and fill in times that have passed.
    Schedules(commands::schedules::Schedules),
    /// Show, pause, resume and limit queues.
    Queues(commands::queues::Queues),
    /// Show, pause and resume kinds of job.
    Kinds(commands::queues::Kinds),
    /// Show the workers.
    Workers(commands::workers::Workers),
    /// Show what fails, like by like, and retry it.
    Failures(commands::failures::Failures),
    /// Run everything and load a sample file through the API.
    Demo(commands::demo::Demo),
    /// Say what is configured.
    #[command(subcommand)]
    Config(commands::config::Config),
    /// Run a command with a throw-away PostgreSQL and Redis (DATABASE_URL, REDIS_URL).
    #[command(hide = true)]
    WithServices(commands::with_services::WithServices),
    #[command(hide = true)]
    ChildProcess(child::ChildProcess),
    #[command(hide = true)]
    ChildWatch(child::ChildWatch),
}

impl Command {
    /// Whether it runs until it is stopped.
    fn is_server(&self) -> bool {
        matches!(self, Self::Up | Self::Api | Self::Worker | Self::Scheduler)
    }

    /// What is logged by default: a server says what it does, a command only what is wrong.
    fn log_filter(&self) -> &'static str {
        if self.is_server() { telemetry::DEFAULT_FILTER } else { "warn" }
    }
}

fn main() -> ExitCode {
    heap::give_back_soon();
    let command = Cli::parse().command;
    // These two become or watch a server, before there is any other thread.
    match &command {
        Command::ChildProcess(args) => return failure(&child::become_child(args)),
        Command::ChildWatch(args) => return child::watch_child(args),
        _ => {}
    }
    let run_logs = matches!(command, Command::Up | Command::Worker | Command::Demo(_)).then(|| {
        let (layer, lines) = worker::run_logs();
        *roles::RUN_LOGS.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(lines);
        layer
    });
    let logging =
        LogConfig::from_env(command.log_filter()).and_then(|config| telemetry::init(&config, run_logs));
    if let Err(error) = logging {
        return failure(&anyhow::anyhow!(error));
    }
    if command.is_server() {
        open_files::raise_limit();
        if let Err(error) = shared::metrics::install() {
            return failure(&anyhow::anyhow!(error));
        }
    }
    shared::storage::prepare_tls();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(&error.into()),
    };
    // On the main thread: children end with the thread that started them.
    let result = runtime.block_on(execute(command));
    // What still blocks a thread (a read of a dead disk) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result.unwrap_or_else(|error| failure(&error))
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up => up::up(signals::listen()?).await?,
        Command::Api => commands::roles::api(signals::listen()?).await?,
        Command::Worker => commands::roles::worker(signals::listen()?).await?,
        Command::Scheduler => commands::roles::scheduler(signals::listen()?).await?,
        Command::Migrate(args) => commands::migrate::execute(&args).await?,
        Command::Restored => commands::restored::restored().await?,
        Command::Ready(args) => commands::ready::ready(&args).await?,
        Command::Doctor(args) => return commands::doctor::doctor(&args).await,
        Command::CreateUser(args) => commands::users::create_user(args).await?,
        Command::CreateAdmin(args) => commands::users::create_admin(args).await?,
        Command::Generate(args) => commands::generate::generate(&args)?,
        Command::Ingest(args) => commands::ingest::ingest(args).await?,
        Command::Uploads(args) => commands::uploads::uploads(args).await?,
        Command::Inspect(args) => commands::inspect::inspect(args).await?,
        Command::RunEtl(args) => commands::run_etl::run_etl(args).await?,
        Command::Nightly(args) => commands::nightly::nightly(args).await?,
        Command::RebuildSummaries(args) => commands::summaries::rebuild(args).await?,
        Command::Verify(args) => commands::summaries::verify(args).await?,
        Command::RefreshMaterializedView(args) => commands::summaries::refresh(args).await?,
        Command::Runs(args) => commands::runs::runs(args).await?,
        Command::Schedules(args) => commands::schedules::schedules(args).await?,
        Command::Queues(args) => commands::queues::queues(args).await?,
        Command::Kinds(args) => commands::queues::kinds(args).await?,
        Command::Workers(args) => commands::workers::workers(args).await?,
        Command::Failures(args) => commands::failures::failures(args).await?,
        Command::Demo(args) => commands::demo::demo(&args, signals::listen()?).await?,
        Command::Config(args) => commands::config::config(&args)?,
        Command::WithServices(args) => return commands::with_services::with_services(args).await,
        Command::ChildProcess(_) | Command::ChildWatch(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// One sentence, no backtrace; 2 for a wrong call, 1 for whatever was refused or failed.
fn failure(error: &anyhow::Error) -> ExitCode {
    output::remark(format!("millrace: {error:#}"));
    if error.is::<usage::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}
