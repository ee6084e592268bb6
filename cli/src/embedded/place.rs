//! Where an embedded instance lives: its data directory, the lock that keeps a second one out, and the
//! directories of the servers. Usually all of it is below the data directory; two things may have to
//! be elsewhere: the servers' files, if root's account for them cannot come to the data directory (a
//! home with mode 0700), and the sockets, whose paths may not exceed 107 bytes.

use super::account;
use crate::{child::Account, output::remark};
use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Longest directory in which both sockets still have paths of at most 107 bytes.
const LONGEST_SOCKET_DIR: usize = 90;
/// Names the servers' directory, where it is not the data directory itself.
const SERVERS_DIR_FILE: &str = "servers_dir";
const SOCKET_DIR_PREFIX: &str = "/tmp/millrace-";

/// What other processes may know of a running instance (file `instance.json`, readable by its owner).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct InstanceFile {
    /// The process that runs it.
    pub pid: u32,
    /// Its database.
    pub database_url: Option<String>,
    /// Its Redis.
    pub redis_url: Option<String>,
    /// Where its pages are.
    pub address: Option<String>,
    /// Where its sockets are.
    pub socket_dir: Option<PathBuf>,
}

/// The directories of an instance; holds its lock.
#[derive(Debug)]
pub struct Place {
    /// Everything that Millrace writes.
    pub data_dir: PathBuf,
    /// Holds `postgres` and `redis`.
    pub servers_dir: PathBuf,
    /// Holds the sockets; only the servers' account enters it.
    pub socket_dir: PathBuf,
    /// Who runs the servers, if not this process's own user.
    pub account: Option<Account>,
    _lock: File,
}

impl Place {
    /// Takes possession of a data directory, which is made if absent.
    pub fn take(data_dir: &Path) -> anyhow::Result<Self> {
        let data_dir = prepare_data_dir(data_dir)?;
        let lock = lock(&data_dir)?;
        let leftover = read_instance(&data_dir);
        let (servers_dir, account) = servers_dir(&data_dir)?;
        if let Some(earlier) = leftover.and_then(|instance| instance.socket_dir) {
            remove_socket_dir(&earlier, account.as_ref());
        }
        let socket_dir = socket_dir(&servers_dir, account.as_ref())?;
        let place = Self { data_dir, servers_dir, socket_dir, account, _lock: lock };
        place.publish(&InstanceFile::default())?;
        Ok(place)
    }

    /// Tells other processes about this instance.
    pub fn publish(&self, instance: &InstanceFile) -> anyhow::Result<()> {
        let instance = InstanceFile {
            pid: std::process::id(),
            socket_dir: Some(self.socket_dir.clone()),
            ..instance.clone()
        };
        let (target, fresh) = (self.data_dir.join("instance.json"), self.data_dir.join("instance.json.new"));
        let written = || -> std::io::Result<()> {
            let mut file =
                OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&serde_json::to_vec_pretty(&instance)?)?;
            std::fs::rename(&fresh, &target)
        };
        written().with_context(|| format!("cannot write {}", target.display()))
    }

    /// A log file of a server; what the last start wrote is kept beside it.
    pub fn log_file(&self, name: &str) -> anyhow::Result<(PathBuf, File)> {
        let directory = self.data_dir.join("logs");
        let path = directory.join(name);
        let opened = || -> std::io::Result<File> {
            std::fs::create_dir_all(&directory)?;
            if path.exists() {
                std::fs::rename(&path, path.with_extension("log.old"))?;
            }
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path)
        };
        let file = opened().with_context(|| format!("cannot write {}", path.display()))?;
        Ok((path, file))
    }

    /// Removes what only a running instance needs.
    pub fn leave(&self) {
        remove_socket_dir(&self.socket_dir, self.account.as_ref());
        // A file that stays is recognised as stale by the lock.
        let _ = std::fs::remove_file(self.data_dir.join("instance.json"));
    }
}

/// The instance that runs on a data directory, if one does.
pub fn running_instance(data_dir: &Path) -> Option<InstanceFile> {
    let file = File::open(data_dir.join("millrace.lock")).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => read_instance(data_dir),
        _ => None,
    }
}

fn read_instance(data_dir: &Path) -> Option<InstanceFile> {
    let mut text = String::new();
    File::open(data_dir.join("instance.json")).ok()?.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn prepare_data_dir(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let fresh = !data_dir.exists();
    // Root's servers run under another name and must pass through; what is private lies deeper.
    let mode = if account::is_root() { 0o711 } else { 0o700 };
    let made = || -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(data_dir)?;
        if fresh {
            std::fs::set_permissions(data_dir, std::fs::Permissions::from_mode(mode))?;
        }
        let data_dir = data_dir.canonicalize()?;
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir.join("files"))?;
        Ok(data_dir)
    };
    made().with_context(|| {
        format!(
            "cannot write to the data directory {}; choose another with MILLRACE_DATA_DIR",
            data_dir.display()
        )
    })
}

/// The kernel frees the lock with the process, however it ends; what the file holds does not matter.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("millrace.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot open the lock file {}; run as its owner, or choose another directory with \
                 MILLRACE_DATA_DIR",
                path.display()
            )
        })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let instance = read_instance(data_dir).unwrap_or_default();
            let pid = if instance.pid > 0 { format!(", process {}", instance.pid) } else { String::new() };
            let address = instance.address.map(|address| format!(", at {address}")).unwrap_or_default();
            bail!(
                "Millrace already runs on {}{pid}{address}; stop it first, or choose another directory with \
                 MILLRACE_DATA_DIR",
                data_dir.display()
            )
        }
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// The directory of the servers' files, and who runs them.
fn servers_dir(data_dir: &Path) -> anyhow::Result<(PathBuf, Option<Account>)> {
    let note = data_dir.join(SERVERS_DIR_FILE);
    if let Ok(text) = std::fs::read_to_string(&note) {
        let servers = PathBuf::from(text.trim());
        let account = account::choose(&servers)?;
        return Ok((servers, account));
    }
    let Some(account) = account::choose(data_dir)? else { return Ok((data_dir.to_owned(), None)) };
    if account::can_reach(&account, data_dir)? {
        return Ok((data_dir.to_owned(), Some(account)));
    }
    if data_dir.join("postgres").exists() {
        bail!(
            "`{}`, who runs the database, can no longer come to {}; let others pass through the \
             directories above it (chmod o+x)",
            account.name,
            data_dir.display()
        );
    }
    let hash = xxhash_rust::xxh3::xxh3_64(data_dir.as_os_str().as_encoded_bytes());
    let servers = PathBuf::from(format!("/var/lib/millrace-{hash:016x}"));
    let made = || -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o711).create(&servers)?;
        std::fs::write(&note, servers.as_os_str().as_encoded_bytes())
    };
    made().with_context(|| {
        format!(
            "`{}`, who runs the database, cannot come to {}, and {} cannot be made; choose a directory \
             elsewhere with MILLRACE_DATA_DIR",
            account.name,
            data_dir.display(),
            servers.display()
        )
    })?;
    remark(format!(
        "`{}`, who runs the database, cannot come to {}: the database's files are kept in {}.",
        account.name,
        data_dir.display(),
        servers.display()
    ));
    Ok((servers, Some(account)))
}

/// A directory in which sockets can be made: `run` beside the servers' files, or a fresh one in /tmp
/// where that path is too long, has letters that a URL would have to escape, or lies on a file system
/// without sockets.
fn socket_dir(servers_dir: &Path, account: Option<&Account>) -> anyhow::Result<PathBuf> {
    let near = servers_dir.join("run");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let path = near.as_os_str().as_encoded_bytes();
    if path.len() <= LONGEST_SOCKET_DIR && path.iter().copied().all(plain) {
        account::private_directory(&near, account)?;
        let probe = near.join("probe");
        let bound = std::os::unix::net::UnixListener::bind(&probe);
        // Left by a start that was killed here; the next one removes it.
        let _ = std::fs::remove_file(&probe);
        if bound.is_ok() || bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
            return Ok(near);
        }
    }
    let name = uuid::Uuid::new_v4().simple().to_string();
    let elsewhere = PathBuf::from(format!("{SOCKET_DIR_PREFIX}{}", &name[..12]));
    // Fails if it exists: nobody else can have prepared it.
    DirBuilder::new()
        .mode(0o700)
        .create(&elsewhere)
        .with_context(|| format!("cannot make a directory for sockets, {}", elsewhere.display()))?;
    account::private_directory(&elsewhere, account)?;
    Ok(elsewhere)
}

/// Removes a socket directory in /tmp, if it is one of ours.
fn remove_socket_dir(directory: &Path, account: Option<&Account>) {
    let owner = account.map_or_else(|| rustix::process::geteuid().as_raw(), |account| account.uid);
    let ours = directory.to_string_lossy().starts_with(SOCKET_DIR_PREFIX)
        && directory.symlink_metadata().is_ok_and(|found| found.is_dir() && found.uid() == owner);
    if ours {
        // Empty or full of dead sockets: nothing is lost if it stays.
        let _ = std::fs::remove_dir_all(directory);
    }
}
