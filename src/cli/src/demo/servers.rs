//! Gate and cloud as processes of their own.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

use crate::failure::Failure;

/// Longest a server may take to start.
const START: Duration = Duration::from_secs(20);

/// A running server.
pub(super) struct Server {
    child: Child,
    log: PathBuf,
}

/// A port nobody uses now.
pub(super) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Server {
    /// Starts `sealdex …`, a server, and waits until it listens.
    pub(super) async fn start(arguments: &[&std::ffi::OsStr], port: u16, log: &Path) -> Result<Self, Failure> {
        let errors = File::create(log)?;
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()?;
        let mut server = Self { child, log: log.into() };
        let deadline = Instant::now() + START;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = server.child.try_wait()? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(Failure::new(format!("a server ended at once ({status}): {said}")));
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!("a server does not start; its log is {}", server.log.display())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// Largest resident memory so far, megabytes; `None` where the system does not tell.
    pub(super) fn peak_mb(&self) -> Option<f64> {
        peak_mb(&self.child.id()?.to_string())
    }

    /// Ends it without asking.
    pub(super) async fn kill(mut self) {
        let _ = self.child.kill().await;
    }

    /// Asks it to finish and waits.
    pub(super) async fn stop(mut self) {
        if let Some(pid) = self.child.id() {
            // Without a signal crate: the shell's own kill.
            let _ = Command::new("kill").arg(pid.to_string()).stderr(Stdio::null()).status().await;
        }
        if tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// Largest resident memory of a process (or "self") so far, megabytes.
pub(super) fn peak_mb(pid: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
