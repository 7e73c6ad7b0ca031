//! Looking through files again and again, slowly, for what has rotted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::view::Soundness;

/// What the last look found, by file; shared with whoever tells it.
#[derive(Clone, Default)]
pub struct Findings(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Findings {
    /// Notes what a look at a file found.
    pub fn note(&self, file: &'static str, found: &Soundness) {
        let mut findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Soundness::Sound => drop(findings.remove(file)),
            Soundness::Damaged(what) => drop(findings.insert(file, what.clone())),
            Soundness::Busy => tracing::warn!(file, "too much is written to check the file: it is tried again, faster"),
        }
    }

    /// `file: what`, of each that is damaged.
    pub fn damaged(&self) -> Option<String> {
        let findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<String> = findings.iter().map(|(file, what)| format!("{file}: {what}")).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// A thread that looks; ends when dropped, after the file it is at.
pub struct Scrub {
    stop: Arc<(AtomicBool, Mutex<()>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// How long between two looks: a day, or `SEALDEX_SCRUB_SECONDS`. The first is a tenth of that after the start, at most
/// ten minutes.
fn pause() -> Duration {
    let told = std::env::var("SEALDEX_SCRUB_SECONDS").ok().and_then(|s| s.parse::<f64>().ok());
    Duration::from_secs_f64(told.filter(|s| (0.1..1e9).contains(s)).unwrap_or(86_400.0))
}

/// Looks now and then, at whatever `look` looks at, reading at most as many bytes a second as it is told; it says whether it
/// came to its end. One that did not is made again after a 24th of the pause, four times as fast, so that less is written
/// meanwhile.
///
/// # Errors
/// When no thread can be started.
pub fn each(look: impl FnMut(u64) -> bool + Send + 'static) -> std::io::Result<Scrub> {
    each_after(pause(), look)
}

fn each_after(pause: Duration, mut look: impl FnMut(u64) -> bool + Send + 'static) -> std::io::Result<Scrub> {
    let stop = Arc::new((AtomicBool::new(false), Mutex::new(()), Condvar::new()));
    let theirs = stop.clone();
    let thread = thread::Builder::new().name("scrub".into()).spawn(move || {
        let (mut wait, mut rate) = ((pause / 10).min(Duration::from_secs(600)), RATE);
        loop {
            let (stopped, lock, bell) = &*theirs;
            let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = bell.wait_timeout_while(guard, wait, |()| !stopped.load(Ordering::Acquire));
            drop(ended.unwrap_or_else(PoisonError::into_inner));
            if stopped.load(Ordering::Acquire) {
                return;
            }
            (wait, rate) = if look(rate) { (pause, RATE) } else { (pause / 24, rate.saturating_mul(4)) };
        }
    })?;
    Ok(Scrub { stop, thread: Some(thread) })
}

/// Bytes a second that a look reads, unless earlier ones did not come to their end.
pub const RATE: u64 = 64 << 20;

impl Scrub {
    /// No look begins after this.
    pub fn ask_to_stop(&self) {
        let (stopped, lock, bell) = &*self.stop;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.store(true, Ordering::Release);
        bell.notify_all();
        drop(guard);
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    #[test]
    fn a_look_that_was_given_up_is_made_again_soon_and_faster() {
        let (told, looks) = mpsc::channel();
        let (pause, mut left) = (Duration::from_secs(2), 2);
        let scrub = each_after(pause, move |rate| {
            let _ = told.send((rate, Instant::now()));
            left -= 1;
            left < 0
        });
        let looks: Vec<_> = looks.iter().take(4).collect();
        assert_eq!(looks.iter().map(|l| l.0).collect::<Vec<_>>(), [RATE, 4 * RATE, 16 * RATE, RATE]);
        assert!(looks[2].1 - looks[0].1 < pause && looks[3].1 - looks[2].1 >= pause);
        drop(scrub);
    }
}
