//! When backups are taken: every so often, and when SIGUSR1 asks.

use std::{
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use sealdex_net::clock::Every;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    BackupError,
    files::{self, Taken},
};
use crate::{gate::Gate, store::ConsentStore};

/// Pause after a backup that failed.
const RETRY: Duration = Duration::from_secs(60);

/// Options of a server that backs itself up.
#[derive(Args, Clone, Debug)]
pub struct BackupOptions {
    /// Folder to write backups of the store to: sealed, for this gate's keys only. SIGUSR1 asks for one at once.
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// How often to back up: a number and s, m, h or d. `never`: only when SIGUSR1 asks.
    #[arg(long, value_name = "TIME", default_value = "1h", requires = "backup_dir")]
    pub backup_every: Every,
    /// How many backups to keep.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..), requires = "backup_dir")]
    pub backup_keep: u32,
}

impl BackupOptions {
    /// What they ask for.
    pub fn plan(&self) -> Option<BackupPlan> {
        let dir = self.backup_dir.clone()?;
        Some(BackupPlan { dir, every: self.backup_every.0, keep: self.backup_keep as usize })
    }
}

/// Where to, how often, how many.
#[derive(Clone, Debug)]
pub struct BackupPlan {
    /// Folder.
    pub dir: PathBuf,
    /// How often; `None`: only when asked.
    pub every: Option<Duration>,
    /// How many to keep.
    pub keep: usize,
}

/// Backups under way. Dropping it gives up the one being written and takes no more.
pub(crate) struct Schedule {
    task: tokio::task::JoinHandle<()>,
    stopped: Arc<AtomicBool>,
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.task.abort();
    }
}

/// Starts taking backups. Without a plan it only says so when it is asked for one.
///
/// # Errors
/// [`BackupError::Io`]: the folder cannot be made or cleared, or signals cannot be heard.
pub(crate) fn start<S: ConsentStore>(gate: &Arc<Gate<S>>, plan: Option<BackupPlan>) -> Result<Schedule, BackupError> {
    let asked = signal(SignalKind::user_defined1()).map_err(|e| BackupError::io("SIGUSR1", &e))?;
    if let Some(plan) = &plan {
        files::prepare(&plan.dir, gate.secrets().identity().id())?;
    }
    let stopped = Arc::new(AtomicBool::new(false));
    let task = match plan {
        None => tokio::spawn(refuse(asked)),
        Some(plan) => tokio::spawn(run(Arc::downgrade(gate), plan, stopped.clone(), asked)),
    };
    Ok(Schedule { task, stopped })
}

async fn refuse(mut asked: Signal) {
    while asked.recv().await.is_some() {
        tracing::warn!("asked for a backup, but --backup-dir is not given");
    }
}

async fn run<S: ConsentStore>(gate: Weak<Gate<S>>, plan: BackupPlan, stopped: Arc<AtomicBool>, mut asked: Signal) {
    let mut wait = gate.upgrade().and_then(|g| due(&g, &plan));
    loop {
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            asked = asked.recv() => if asked.is_none() { return },
        }
        let Some(gate) = gate.upgrade() else { return };
        let (plan_now, stopped) = (plan.clone(), stopped.clone());
        let taken =
            tokio::task::spawn_blocking(move || gate.back_up(&plan_now, &|| !stopped.load(Ordering::Acquire))).await;
        wait = match taken {
            Ok(Ok(_)) => plan.every,
            Ok(Err(BackupError::Stopped)) => return,
            // Said in `back_up`; a worker that panicked has said so too.
            _ => plan.every.map(|every| every.min(RETRY)),
        };
    }
}

/// Time until the next backup is due: counted from the newest one there is, so that a server that keeps
/// restarting neither skips backups nor pushes old ones out by new ones.
fn due<S: ConsentStore>(gate: &Gate<S>, plan: &BackupPlan) -> Option<Duration> {
    let every = plan.every?;
    let newest = files::list(&plan.dir, gate.secrets().identity().id()).ok()?.pop();
    let Some(newest) = newest else { return Some(Duration::ZERO) };
    let age = newest.metadata().and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
    Some(age.map_or(every, |age| every.saturating_sub(age)))
}

impl<S: ConsentStore> Gate<S> {
    /// Takes a backup now. `go_on` is asked now and then.
    ///
    /// # Errors
    /// [`BackupError`]; earlier backups are as they were.
    pub fn back_up(&self, plan: &BackupPlan, go_on: &dyn Fn() -> bool) -> Result<Taken, BackupError> {
        let began = Instant::now();
        let taken = files::take(&*self.store, &self.secrets, &plan.dir, plan.keep, self.now(), go_on);
        match &taken {
            Ok(Taken { path, summary, bytes }) => {
                metrics::counter!("sealdex_gate_backups_total", "outcome" => "taken").increment(1);
                metrics::gauge!("sealdex_gate_backup_taken_seconds").set(self.now() as f64 / 1000.0);
                metrics::gauge!("sealdex_gate_backup_bytes").set(*bytes as f64);
                let (rows, ms) = (summary.rows(), began.elapsed().as_millis() as u64);
                tracing::info!(file = %path.display(), rows, bytes, ms, "backed up");
            }
            Err(error) => {
                metrics::counter!("sealdex_gate_backups_total", "outcome" => "failed").increment(1);
                tracing::error!(%error, "no backup was taken");
            }
        }
        taken
    }
}
