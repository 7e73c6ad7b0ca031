//! When backups are taken: every so often, when SIGUSR1 asks, or before anything is acknowledged.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use sealdex_net::clock::Every;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Backup, BackupError};

/// How often it is asked whether a new base is due.
const RENEW: Duration = Duration::from_secs(30);
/// Pause after a backup that failed.
const RETRY: Duration = Duration::from_secs(60);

/// Options of a cloud that backs itself up.
#[derive(Args, Clone, Debug)]
pub struct BackupOptions {
    /// Folder to write backups of the store to: a base, and then what came since. SIGUSR1 asks for one at once.
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// How often to back up what came since: a number and s, m, h or d. `never`: only when SIGUSR1 asks.
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "backup_dir")]
    pub backup_every: Every,
    /// How many bases to keep, each with the parts after it. A new one is written when the parts are as large as the base.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..), requires = "backup_dir")]
    pub backup_keep: u32,
    /// Acknowledge and log a batch once it is in the backup, so that a restored cloud has lost nothing and can go on.
    #[arg(long, requires = "backup_dir")]
    pub backup_first: bool,
}

impl BackupOptions {
    /// What they ask for.
    pub fn plan(&self) -> Option<BackupPlan> {
        let dir = self.backup_dir.clone()?;
        let (every, keep) = (self.backup_every.0, self.backup_keep as usize);
        Some(BackupPlan { dir, every, keep, first: self.backup_first })
    }
}

/// Where to, how often, how many.
#[derive(Clone, Debug)]
pub struct BackupPlan {
    /// Folder.
    pub dir: PathBuf,
    /// How often; `None`: only when asked.
    pub every: Option<Duration>,
    /// Bases to keep.
    pub keep: usize,
    /// Whether what is acknowledged waits for the backup.
    pub first: bool,
}

/// Hears SIGUSR1 from now on: unheard it would end the process.
pub(crate) fn asked() -> Result<Signal, BackupError> {
    signal(SignalKind::user_defined1()).map_err(|e| BackupError::io("SIGUSR1", &e))
}

/// Takes backups until it is dropped, and tells `taken` of each. Without one to take it only says so when it is asked.
pub(crate) async fn run(backup: Option<Arc<Backup>>, every: Option<Duration>, mut asked: Signal, taken: impl Fn()) {
    let Some(backup) = backup else {
        while asked.recv().await.is_some() {
            tracing::warn!("asked for a backup, but --backup-dir is not given");
        }
        return;
    };
    // Counted from the newest there is, so that a server that keeps restarting skips none.
    let mut wait = every.map(|every| backup.age().map_or(Duration::ZERO, |age| every.saturating_sub(age)));
    let mut renew = tokio::time::interval(RENEW);
    loop {
        let began = Instant::now();
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            asked = asked.recv() => if asked.is_none() { return },
            _ = renew.tick() => {
                let to_renew = backup.clone();
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || to_renew.renew()).await {
                    tracing::error!(%error, "no new base was written");
                }
                wait = wait.map(|wait| wait.saturating_sub(began.elapsed()));
                continue;
            }
        }
        let backup = backup.clone();
        let done = matches!(tokio::task::spawn_blocking(move || backup.take()).await, Ok(Ok(_)));
        if done {
            taken();
        }
        // A failure was said where it happened.
        wait = every.map(|every| if done { every } else { every.min(RETRY) });
    }
}
