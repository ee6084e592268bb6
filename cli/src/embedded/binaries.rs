//! Finding the installed servers.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// Oldest PostgreSQL that the schema is tested with.
const OLDEST_POSTGRES: u32 = 14;

const INSTALL_POSTGRES: &str = "install it (Debian, Ubuntu: `apt-get install postgresql`; macOS: \
    `brew install postgresql@17`) or set DATABASE_URL to a server of your own";

/// An installed PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresBinaries {
    /// Holds `postgres` and `initdb`.
    pub bin: PathBuf,
    /// Major version.
    pub major: u32,
}

/// Finds PostgreSQL: the version that a data directory needs, or else the newest one.
pub fn find_postgres(wanted: Option<u32>) -> anyhow::Result<PostgresBinaries> {
    let mut found: Vec<PostgresBinaries> = Vec::new();
    for bin in postgres_directories() {
        if bin.join("postgres").is_file() && bin.join("initdb").is_file() {
            // A broken installation beside a working one does no harm.
            if let Ok(major) = major_version(&bin.join("postgres")) {
                found.push(PostgresBinaries { bin, major });
            }
        }
    }
    let newest = found.iter().map(|one| one.major).max();
    match wanted {
        Some(major) => match found.into_iter().find(|one| one.major == major) {
            Some(one) => Ok(one),
            None => bail!(
                "the data directory was made by PostgreSQL {major}, which is not installed{}; install \
                 PostgreSQL {major}, or choose a fresh directory with MILLRACE_DATA_DIR",
                newest.map(|newest| format!(" (PostgreSQL {newest} is)")).unwrap_or_default()
            ),
        },
        None => match found.into_iter().max_by_key(|one| one.major) {
            Some(one) if one.major >= OLDEST_POSTGRES => Ok(one),
            Some(one) => {
                bail!(
                    "PostgreSQL {} is too old, {OLDEST_POSTGRES} or newer is needed; {INSTALL_POSTGRES}",
                    one.major
                )
            }
            None => bail!("PostgreSQL is not installed; {INSTALL_POSTGRES}"),
        },
    }
}

/// Finds `redis-server`, if it is installed.
pub fn find_redis() -> Option<PathBuf> {
    let usual = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/homebrew/opt/redis/bin"];
    search_path()
        .into_iter()
        .chain(usual.map(PathBuf::from))
        .map(|directory| directory.join("redis-server"))
        .find(|path| path.is_file())
}

/// What is said when Redis is missing and nothing can be had without it.
pub const INSTALL_REDIS: &str = "redis-server is not installed; install it (Debian, Ubuntu: `apt-get \
    install redis-server`; macOS: `brew install redis`) or set REDIS_URL to a server of your own";

fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn postgres_directories() -> Vec<PathBuf> {
    let mut directories = search_path();
    // Debian and Ubuntu, Red Hat's own packages, Homebrew on either processor.
    directories.extend(versions_below(Path::new("/usr/lib/postgresql"), "", "bin"));
    directories.extend(versions_below(Path::new("/usr"), "pgsql-", "bin"));
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        directories.extend(versions_below(Path::new(homebrew), "postgresql", "bin"));
    }
    directories.push(PathBuf::from("/usr/local/pgsql/bin"));
    directories
}

fn versions_below(parent: &Path, prefix: &str, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(below))
        .collect()
}

/// Reads `postgres (PostgreSQL) 15.8 (Debian …)`.
fn major_version(postgres: &Path) -> anyhow::Result<u32> {
    let output = std::process::Command::new(postgres).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(2).context("no version")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}
