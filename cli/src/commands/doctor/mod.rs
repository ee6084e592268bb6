//! `millrace doctor`: one look at the whole installation, from the machine that it is called on.

mod database;

use super::config::Configuration;
use crate::{output::say, services::Services};
use clap::Args;
use serde::Serialize;
use shared::{config::StorageConfig, runs::Doorbells};
use std::{path::Path, process::ExitCode, time::Duration};

/// A server that takes longer is taken for one that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Below these, little room is left where files are.
const FREE_BYTES: u64 = 5 << 30;
const FREE_PERCENT: u64 = 5;

/// What is asked of the doctor.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print the findings as JSON, for scripts.
    #[arg(long)]
    json: bool,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works; somebody should look at it.
    Warning,
    /// It does not work, or loses something.
    Fault,
}

/// What one look found.
#[derive(Debug, Serialize)]
struct Finding {
    area: &'static str,
    verdict: Verdict,
    found: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, area: &'static str, found: impl Into<String>) {
        self.0.push(Finding { area, verdict: Verdict::Ok, found: found.into(), mend: None });
    }

    fn add(
        &mut self,
        area: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.0.push(Finding { area, verdict, found: found.into(), mend: Some(mend.into()) });
    }

    fn worst(&self) -> Verdict {
        let is = |verdict| self.0.iter().any(|finding| finding.verdict == verdict);
        if is(Verdict::Fault) {
            Verdict::Fault
        } else if is(Verdict::Warning) {
            Verdict::Warning
        } else {
            Verdict::Ok
        }
    }
}

/// Looks at everything; fails if something does not work.
pub async fn doctor(args: &Doctor) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::default();
    let configuration = Configuration::read();
    for wrong in &configuration.wrong {
        findings.add(
            "configuration",
            Verdict::Fault,
            wrong,
            "mend or remove the variable, then look again: of variables that belong together one is named at a time",
        );
    }
    for name in &configuration.unknown {
        findings.add(
            "configuration",
            Verdict::Warning,
            format!("{name} is set, and nothing reads it"),
            "see the table of settings in docs/operations.md: it may be misspelt",
        );
    }
    if configuration.wrong.is_empty() {
        if configuration.unknown.is_empty() {
            findings.ok("configuration", format!("{} variables can be used", configuration.settings.len()));
        }
        match Services::find() {
            Ok(services) => look(&services, &mut findings).await,
            Err(error) => {
                findings.add("database", Verdict::Fault, format!("{error:#}"), "name a server, or start one");
            }
        }
    }
    if args.json {
        say(serde_json::to_string_pretty(&findings.0)?);
    } else {
        findings.0.iter().for_each(show);
    }
    Ok(if findings.worst() == Verdict::Fault { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn show(finding: &Finding) {
    let word = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Fault => "FAULT",
    };
    say(format!("{word:<8} {:<14} {}", finding.area, finding.found));
    if let Some(mend) = &finding.mend {
        say(format!("{:<8} {:<14} → {mend}", "", ""));
    }
}

async fn look(services: &Services, findings: &mut Findings) {
    match tokio::time::timeout(PATIENCE, database::look(services, findings)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let found = database::cause(&error);
            let mend = database::mend(&found);
            findings.add("database", Verdict::Fault, found, mend);
        }
        Err(_) => findings.add(
            "database",
            Verdict::Fault,
            format!("does not answer within {} s", PATIENCE.as_secs()),
            "see whether PostgreSQL runs, is overloaded, or a firewall is between",
        ),
    }
    look_at_redis(services, findings).await;
    look_at_files(services, findings).await;
}

async fn look_at_redis(services: &Services, findings: &mut Findings) {
    match Doorbells::new(services.redis.clone()).answer().await {
        Some(true) => findings.ok("redis", "answers"),
        Some(false) => findings.add(
            "redis",
            Verdict::Warning,
            "does not answer: runs start and events arrive up to a second late",
            "see whether REDIS_URL is right and Redis runs; nothing is lost meanwhile",
        ),
        None => findings.add(
            "redis",
            Verdict::Warning,
            "not configured: runs start and events arrive up to a second late",
            "set REDIS_URL",
        ),
    }
}

async fn look_at_files(services: &Services, findings: &mut Findings) {
    let written = async { anyhow::Ok(services.files().await?.check().await?) };
    match tokio::time::timeout(PATIENCE, written).await {
        Ok(Ok(())) => findings.ok("files", "can be written"),
        Ok(Err(error)) => findings.add(
            "files",
            Verdict::Fault,
            format!("cannot be written: {error:#}"),
            "give this account the right to write where MILLRACE_STORAGE (or MILLRACE_DATA_DIR) says, and make room",
        ),
        Err(_) => findings.add(
            "files",
            Verdict::Fault,
            format!("the storage does not answer within {} s", PATIENCE.as_secs()),
            "see whether the bucket's endpoint, or the network drive, can be reached from here",
        ),
    }
    let StorageConfig { data_dir, url } = &services.storage;
    look_at_disk(data_dir, findings);
    let files = url.as_deref().and_then(|url| url.strip_prefix("file://")).map(Path::new);
    if let Some(files) = files.filter(|files| !files.starts_with(data_dir)) {
        look_at_disk(files, findings);
    }
}

/// The disk of a directory; whether the database's has room is found out by writing there.
fn look_at_disk(data_dir: &Path, findings: &mut Findings) {
    // What is not there yet will be on the disk of what is above it.
    let Some(place) = data_dir.ancestors().find(|place| place.exists()).or(Some(Path::new("."))) else {
        return;
    };
    let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
    match rustix::fs::statvfs(place) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let whole = disk.f_blocks.saturating_mul(disk.f_frsize).max(1);
            let found = format!("{} free of {} at {}", gibibytes(free), gibibytes(whole), place.display());
            let percent = u64::try_from(u128::from(free) * 100 / u128::from(whole)).unwrap_or(u64::MAX);
            if free < FREE_BYTES || percent < FREE_PERCENT {
                findings.add(
                    "disk",
                    Verdict::Warning,
                    found,
                    "make room, or keep files for fewer days (MILLRACE_KEEP_FILES_DAYS): uploads are refused when it is full",
                );
            } else {
                findings.ok("disk", found);
            }
        }
        Err(error) => {
            findings.add(
                "disk",
                Verdict::Warning,
                format!("cannot be looked at: {error}"),
                "see MILLRACE_DATA_DIR",
            );
        }
    }
}

fn gibibytes(bytes: u64) -> String {
    let tenths = (u128::from(bytes) * 10) >> 30;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}
