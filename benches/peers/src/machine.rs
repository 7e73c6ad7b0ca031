//! What this ran on.

use std::fmt;
use std::process::Command;

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Machine {
    /// Threads the system runs at once.
    pub cores: usize,
    /// The processor's own name.
    pub cpu: String,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Version of the compiler in the path.
    pub rustc: String,
    /// Average load of the minute before the start: what is quoted should come from a machine with nothing else to do.
    #[serde(skip)]
    pub load_before: f64,
}

impl Machine {
    pub fn here() -> Self {
        let line = |file: &str, key: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let found = text.lines().find(|l| l.starts_with(key)).and_then(|l| l.split_once(':'));
            found.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let kib = line("/proc/meminfo", "MemTotal");
        let rustc = Command::new("rustc").arg("--version").output();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: line("/proc/cpuinfo", "model name"),
            memory_mib: kib.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024,
            rustc: rustc.map_or("unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().into()),
            load_before: load.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN),
        }
    }

    /// Whether figures of both may stand in one report.
    pub fn is(&self, other: &Self) -> bool {
        (self.cores, &self.cpu, &self.rustc) == (other.cores, &other.cpu, &other.rustc)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {} cores, {} MiB, {}", self.cpu, self.cores, self.memory_mib, self.rustc)?;
        if self.load_before > 0.5 {
            write!(out, "\nthe machine was busy before this began (load {}): do not quote this run", self.load_before)?;
        }
        Ok(())
    }
}
