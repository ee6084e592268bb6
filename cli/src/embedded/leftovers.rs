//! Servers of an earlier life of the data directory. They end with the process that started them, but
//! a fast shutdown of PostgreSQL takes its time, and two servers on one set of files would ruin it.

use crate::{
    child::{EndSignal, signal_pid},
    output::remark,
};
use anyhow::bail;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Waits until no process named `name` works in `directory` any more; asks those that do to end, first
/// kindly, then firmly.
pub async fn wait_for_end(name: &str, directory: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut stage = 0;
    loop {
        let pids = processes_in(name, directory);
        if pids.is_empty() {
            return Ok(());
        }
        let waited = started.elapsed();
        if stage == 0 {
            // The eldest is the server itself, the others are its children.
            signal_pid(pids[0], if name == "postgres" { EndSignal::Int } else { EndSignal::Term });
            stage = 1;
        } else if stage == 1 && waited > Duration::from_secs(2) {
            remark(format!("Waiting for the {name} of an earlier start to end (process {}) …", pids[0]));
            stage = 2;
        } else if stage == 2 && waited > Duration::from_secs(60) {
            let firm = if name == "postgres" { EndSignal::Quit } else { EndSignal::Kill };
            pids.iter().for_each(|pid| signal_pid(*pid, firm));
            stage = 3;
        } else if waited > Duration::from_secs(75) {
            bail!("a {name} of an earlier start (process {}) does not end; end it by hand", pids[0]);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Processes of this name whose working directory this is, eldest first. Where there is no /proc the
/// servers' own lock files must do.
fn processes_in(name: &str, directory: &Path) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let process = Path::new("/proc").join(pid.to_string());
            // A zombie has ended; its working directory cannot be read.
            std::fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim().starts_with(name))
                && std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == directory)
        })
        .collect();
    pids.sort_unstable();
    pids
}
