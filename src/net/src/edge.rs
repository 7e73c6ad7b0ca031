//! Where a role meets what is outside its code: the wall clock, chance, threads. A simulation stands in for all three on
//! its own thread, so that the code of every role runs as it is and a seed makes it run the same way again. Nothing but a
//! simulation calls [`simulate`]; without it each function here is what its name says.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use rand::RngExt;
use tokio::task::JoinHandle;

/// What stands in for the outside.
pub trait Outside {
    /// Unix time, milliseconds.
    fn now_ms(&self) -> u64;
    /// A factor of a pause, from 0.5 to 1.5.
    fn jitter(&self) -> f64;
    /// How often others get a turn before work that would be on another thread is done.
    fn turns(&self) -> u32;
}

thread_local! {
    static OUTSIDE: RefCell<Option<Rc<dyn Outside>>> = const { RefCell::new(None) };
}

/// Ends the simulation of its thread when it is dropped.
pub struct Simulated(Option<Rc<dyn Outside>>);

/// From now on, on this thread, `outside` stands in. For a runtime of one thread with paused time.
#[must_use]
pub fn simulate(outside: Rc<dyn Outside>) -> Simulated {
    Simulated(OUTSIDE.with(|o| o.borrow_mut().replace(outside)))
}

impl Drop for Simulated {
    fn drop(&mut self) {
        OUTSIDE.with(|o| *o.borrow_mut() = self.0.take());
    }
}

fn outside() -> Option<Rc<dyn Outside>> {
    OUTSIDE.with(|o| o.borrow().clone())
}

pub(crate) fn now_ms() -> u64 {
    if let Some(outside) = outside() {
        return outside.now_ms();
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// A factor of a pause, so that those who wait for the same do not come back together.
pub fn jitter() -> f64 {
    outside().map_or_else(|| rand::rng().random_range(0.5..1.5), |o| o.jitter())
}

/// Runs work that computes or waits for a disk where it does not hold up the event loop; it begins at once, and is done
/// though nobody waits.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let Some(turns) = outside().map(|o| o.turns()) else { return tokio::task::spawn_blocking(work) };
    tokio::spawn(async move {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        work()
    })
}

/// Work of a role for as long as it runs, on a thread of its own.
pub struct Worker(Option<thread::JoinHandle<()>>);

/// Starts work that may block, on a thread of its own that is called `name`.
///
/// # Errors
/// When there can be no more threads.
pub fn worker(name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<Worker> {
    if outside().is_some() {
        drop(tokio::spawn(work));
        return Ok(Worker(None));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let run = move || runtime.block_on(work);
    Ok(Worker(Some(thread::Builder::new().name(name.into()).spawn(run)?)))
}

impl Worker {
    /// Waits until the work has ended; false when it ended by a panic. A simulation does not wait.
    pub fn join(self) -> bool {
        self.0.is_none_or(|thread| thread.join().is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use super::*;

    struct Fixed(Cell<u64>);

    impl Outside for Fixed {
        fn now_ms(&self) -> u64 {
            self.0.get()
        }

        fn jitter(&self) -> f64 {
            1.25
        }

        fn turns(&self) -> u32 {
            2
        }
    }

    #[test]
    fn a_simulation_stands_in_on_its_thread_until_it_ends() {
        let fixed = Rc::new(Fixed(Cell::new(5)));
        {
            let _simulated = simulate(fixed.clone());
            assert_eq!((now_ms(), jitter()), (5, 1.25));
            fixed.0.set(6);
            assert_eq!(now_ms(), 6);
            assert!(thread::spawn(now_ms).join().unwrap() > 6, "another thread has the system's clock");
        }
        assert!(now_ms() > 6);
        assert!((0.5..1.5).contains(&jitter()));
    }

    #[test]
    fn work_is_done_on_the_simulated_thread_and_elsewhere_without_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let here = thread::current().id();
        runtime.block_on(async {
            let on = || thread::current().id();
            assert_ne!(blocking(on).await.unwrap(), here);
            let _simulated = simulate(Rc::new(Fixed(Cell::new(5))));
            assert_eq!(blocking(on).await.unwrap(), here);
        });
    }

    #[test]
    fn a_worker_may_sleep_and_is_waited_for() {
        let (said, heard) = std::sync::mpsc::channel();
        let work = async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            said.send(thread::current().name().map(str::to_owned)).unwrap();
        };
        assert!(worker("a-worker", work).unwrap().join());
        assert_eq!(heard.recv().unwrap().as_deref(), Some("a-worker"));
        assert!(!worker("another", async { panic!("on purpose") }).unwrap().join());
    }
}
