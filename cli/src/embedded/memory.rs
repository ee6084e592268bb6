//! How much memory there is, for the servers' sizes.

/// Memory of this machine or container in MiB; 2048 where it cannot be told.
pub fn total_mib() -> u64 {
    let machine = machine_mib().unwrap_or(2048);
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map(|bytes| bytes >> 20);
    container.map_or(machine, |limit| limit.min(machine))
}

fn machine_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib >> 10)
}
