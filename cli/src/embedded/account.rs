//! Under whose name the servers run. PostgreSQL refuses to be root, so root lends it another account.

use crate::child::Account;
use anyhow::{Context, bail};
use std::{
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

/// Accounts that root may lend, the first that exists.
const LENT: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The account for servers whose files lie (or will lie) in `servers`: none for an ordinary user, who
/// runs them under the own name.
pub fn choose(servers: &Path) -> anyhow::Result<Option<Account>> {
    let owner = std::fs::metadata(servers.join("postgres")).ok().map(|found| (found.uid(), found.gid()));
    let me = rustix::process::geteuid().as_raw();
    if !is_root() {
        if let Some((uid, _)) = owner.filter(|(uid, _)| *uid != me) {
            bail!(
                "the database in {} belongs to another user (id {uid}); start Millrace as root or as that \
                 user, or choose another directory with MILLRACE_DATA_DIR",
                servers.display()
            );
        }
        return Ok(None);
    }
    // A database that is there keeps its owner.
    if let Some((uid, gid)) = owner.filter(|(uid, _)| *uid != 0) {
        return Ok(Some(Account { name: format!("user {uid}"), uid, gid }));
    }
    for name in LENT {
        if let (Some(uid), Some(gid)) = (id_of("-u", name), id_of("-g", name)) {
            return Ok(Some(Account { name: name.to_owned(), uid, gid }));
        }
    }
    bail!(
        "PostgreSQL does not run as root and there is no user `postgres` or `nobody`: start Millrace as an ordinary user"
    )
}

fn id_of(flag: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([flag, name]).stderr(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8_lossy(&output.stdout).trim().parse().ok().filter(|id| *id != 0)
}

/// Whether the account can come to a directory. It is tried, not computed: mounts and access lists
/// have a say too.
pub fn can_reach(account: &Account, directory: &Path) -> anyhow::Result<bool> {
    let status = Command::new("/bin/sh")
        .args(["-c", "cd \"$1\"", "sh"])
        .arg(directory)
        .uid(account.uid)
        .gid(account.gid)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| {
            format!("cannot become user `{}`; start Millrace as an ordinary user", account.name)
        })?;
    Ok(status.success())
}

/// Makes a directory that only its owner enters, and gives it to the account.
pub fn private_directory(directory: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let made = || -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
        if let Some(account) = account {
            std::os::unix::fs::chown(directory, Some(account.uid), Some(account.gid))?;
        }
        Ok(())
    };
    made().with_context(|| format!("cannot prepare the directory {}", directory.display()))
}
