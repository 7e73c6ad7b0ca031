//! Requests that are done again because another node took them: by the time at which they were made, and without what
//! has been overtaken since, so that every node comes to the same whatever came to it first.

use std::cell::Cell;

/// How a request is done again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redone {
    /// When its author made it, Unix milliseconds: what a node that was away goes by.
    pub(crate) at: u64,
    /// Whether what cannot be done of it is left out, because nothing that could still come would help.
    pub(crate) last: bool,
    /// Whether it was this node itself that took it, and was stopped over it.
    pub(crate) own: bool,
}

tokio::task_local! { static TASK: Redone; }
thread_local! { static THREAD: Cell<Option<Redone>> = const { Cell::new(None) }; }

/// Whether, and how, a request is done again here.
pub(crate) fn redone() -> Option<Redone> {
    TASK.try_with(|r| *r).ok().or_else(|| THREAD.get())
}

/// Runs work as doing a request again.
pub(crate) async fn redoing<T>(redone: Redone, work: impl Future<Output = T>) -> T {
    TASK.scope(redone, work).await
}

/// Work for another task, which does what this one does.
pub(crate) async fn carried<T>(redone: Option<Redone>, work: impl Future<Output = T>) -> T {
    match redone {
        Some(redone) => redoing(redone, work).await,
        None => work.await,
    }
}

/// Work for another thread, which does what this task does.
pub(crate) fn carried_over<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let redone = redone();
    move || {
        // Threads are used again, also after a panic.
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                THREAD.set(None);
            }
        }
        THREAD.set(redone);
        let _reset = Reset;
        work()
    }
}
