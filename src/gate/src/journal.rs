//! Group commit: what searches and batches leave behind (audit entries, tickets) is durable before they
//! are answered, and requests that finish together share one transaction and one disk sync.

use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use crate::{
    error::GateError,
    gate::Clock,
    store::{AuditEntry, ConsentStore, StoreError, TicketRow, WriteConsents as _},
    tickets::Outstanding,
};

/// Most acts committed together.
const GROUP: usize = 256;

struct Act {
    entry: AuditEntry,
    tickets: Vec<TicketRow>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The way to the committing thread; it ends when this is dropped.
pub(crate) struct Journal(mpsc::Sender<Act>);

impl Journal {
    /// Starts the committing thread.
    pub(crate) fn start<S: ConsentStore>(
        store: Arc<S>,
        outstanding: Arc<Outstanding>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let (sender, acts) = mpsc::channel();
        let run = move || commit_all(&*store, &outstanding, &clock, &acts);
        let thread = std::thread::Builder::new().name("gate-journal".into()).spawn(run);
        thread.map(|_| Self(sender)).map_err(|e| StoreError::Backend(e.to_string()))
    }

    /// Makes one act durable.
    pub(crate) async fn record(&self, entry: AuditEntry, tickets: Vec<TicketRow>) -> Result<(), GateError> {
        let (done, answer) = oneshot::channel();
        self.0.send(Act { entry, tickets, done }).map_err(|_| GateError::Worker)?;
        Ok(answer.await.map_err(|_| GateError::Worker)??)
    }
}

fn commit_all<S: ConsentStore>(store: &S, outstanding: &Outstanding, clock: &Clock, acts: &mpsc::Receiver<Act>) {
    while let Ok(first) = acts.recv() {
        let group: Vec<Act> = std::iter::once(first).chain(acts.try_iter().take(GROUP - 1)).collect();
        let expired = outstanding.take_expired(clock());
        let result = store.write(|txn| {
            for act in &group {
                txn.append_audit(&act.entry)?;
                act.tickets.iter().try_for_each(|t| txn.put_ticket(t))?;
            }
            expired.iter().try_for_each(|n| txn.remove_ticket(n))
        });
        for act in group {
            // A caller that has gone needs no answer.
            let _ = act.done.send(result.clone());
        }
    }
}
