//! Clocks: wall, processor, memory, disk.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use crate::report::Machine;

/// The median.
#[must_use]
pub fn median(values: Vec<f64>) -> f64 {
    percentile(values, 0.5)
}

/// A percentile, the nearest rank. 0 of nothing.
#[must_use]
pub fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 - 1.0) * share).round().max(0.0) as usize;
    values.get(at).copied().unwrap_or(0.0)
}

/// Seconds a call takes, in each of `rounds` rounds of at least `least` each. All of `work` take turns, so that whatever
/// else the machine does meets all of them; medians are compared.
pub fn in_turn(rounds: usize, least: Duration, work: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let mut times: Vec<Vec<f64>> = work.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (one, times) in work.iter_mut().zip(&mut times) {
            let (started, mut count) = (Instant::now(), 0u32);
            while started.elapsed() < least {
                one();
                count += 1;
            }
            times.push(started.elapsed().as_secs_f64() / f64::from(count));
        }
    }
    times.into_iter().map(median).collect()
}

/// Processor time of this process, all threads, seconds; steps of 10 ms.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Resident memory of this process now, MiB.
#[must_use]
pub fn resident_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Bytes of a file or of all files below a folder.
#[must_use]
pub fn bytes_on_disk(path: &Path) -> u64 {
    let Ok(meta) = fs::metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|e| bytes_on_disk(&e.path())).sum()
}

/// What the studies run on.
#[must_use]
pub fn machine() -> Machine {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown");
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let rustc = std::process::Command::new("rustc").arg("--version").output();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu: model.trim_start_matches([' ', '\t', ':']).to_owned(),
        memory_mib: kib / 1024,
        rustc: rustc.ok().and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default().trim().to_owned(),
        fdatasync_us: fdatasync().unwrap_or(0.0),
        load: load.split_whitespace().next().and_then(|l| l.parse().ok()).unwrap_or(0.0),
    }
}

fn fdatasync() -> std::io::Result<f64> {
    let mut file = tempfile::tempfile()?;
    let mut times = Vec::new();
    for _ in 0..64 {
        let started = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}
