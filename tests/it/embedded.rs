//! `millrace up` on servers of its own: they are there with it and gone with it.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tests::{eventually, processes::Process};

/// A data directory that an account lent by root can come to.
fn data_dir() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("permissions");
    directory
}

fn up(data_dir: &Path) -> Process {
    let data_dir = data_dir.to_str().expect("a path");
    // A blank variable is as good as none.
    let nothing = [("DATABASE_URL", ""), ("REDIS_URL", "")];
    let here = [("MILLRACE_DATA_DIR", data_dir), ("MILLRACE_LISTEN", "127.0.0.1:0")];
    Process::millrace(&["up"], &[nothing, here].concat())
}

/// The address that the instance of process `pid` serves.
async fn address(data_dir: &Path, pid: u32) -> String {
    let file = data_dir.join("instance.json");
    eventually("an instance that serves", || async {
        let instance: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
        (instance["pid"] == pid).then(|| instance["address"].as_str().map(str::to_owned)).flatten()
    })
    .await
}

/// Servers whose working directory lies below this one.
fn servers(data_dir: &Path) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let directories = processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
    directories.filter(|directory| directory.starts_with(data_dir)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_up_leaves_no_servers_and_the_next_one_goes_on() {
    let directory = data_dir();
    let mut first = up(directory.path());
    let url = address(directory.path(), first.id()).await;
    shared::storage::prepare_tls();
    assert!(reqwest::get(format!("{url}/livez")).await.expect("an answer").status().is_success());
    assert!(servers(directory.path()).len() > 1);
    first.kill();
    eventually("the end of the servers", || async { servers(directory.path()).is_empty().then_some(()) })
        .await;

    let mut second = up(directory.path());
    address(directory.path(), second.id()).await;
    assert!(second.stop(), "an orderly stop");
    assert_eq!(servers(directory.path()), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_on_a_data_directory_is_refused() {
    let directory = data_dir();
    let first = up(directory.path());
    address(directory.path(), first.id()).await;
    let mut second = up(directory.path());
    let refused = eventually("the second one's end", || {
        let ended = second.ended();
        async move { ended }
    })
    .await;
    assert!(!refused);
    address(directory.path(), first.id()).await;
}
