//! What this process takes of its machine, for metrics: read from `/proc`, nothing elsewhere.

use std::{fs, sync::OnceLock};

use crate::clock::now_s;

static STARTED: OnceLock<u64> = OnceLock::new();

/// Bytes of memory in use.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Open files, and how many may be.
pub fn files() -> Option<(u64, u64)> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some((open, file_limit()?))
}

/// How many files this process may have open.
pub fn file_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Notes when the process started, and what it is.
pub(crate) fn began(role: &'static str) {
    STARTED.get_or_init(now_s);
    metrics::gauge!("sealdex_build_info", "role" => role, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Brings the gauges up to date, when somebody asks for them.
pub(crate) fn observe() {
    if let Some(bytes) = resident() {
        metrics::gauge!("sealdex_process_resident_bytes").set(bytes as f64);
    }
    if let Some((open, most)) = files() {
        metrics::gauge!("sealdex_process_open_files").set(open as f64);
        metrics::gauge!("sealdex_process_max_files").set(most as f64);
    }
    if let Some(at) = STARTED.get() {
        metrics::gauge!("sealdex_process_start_seconds").set(*at as f64);
    }
}

/// Bytes that are free for this user on the file system of a path, and all that this user could have: what is used
/// and what is free, without what the file system keeps back.
pub fn disk(path: &std::path::Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let used = stat.f_blocks.checked_sub(stat.f_bfree)?;
    let all = used.checked_add(stat.f_bavail)?;
    Some((stat.f_bavail.checked_mul(stat.f_frsize)?, all.checked_mul(stat.f_frsize)?))
}
