//! Group commit: what searches and batches leave behind (audit entries, tickets) is durable before they
//! are answered, and requests that finish together share one transaction and one disk sync.

use std::sync::Arc;

use sealdex_crypto::PrincipalId;
use sealdex_net::edge::{self, Worker};
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::GateError,
    gate::Clock,
    store::{AccessRow, AuditEntry, ConsentStore, StoreError, TicketRow, WriteConsents as _},
    tickets::Outstanding,
};

/// Most acts committed together.
const GROUP: usize = 256;

struct Act {
    entry: AuditEntry,
    accesses: Vec<(PrincipalId, AccessRow)>,
    tickets: Vec<TicketRow>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The way to the committing thread. Dropping it waits for the thread, so that the store is closed when
/// its gate is gone.
pub(crate) struct Journal {
    acts: Option<mpsc::UnboundedSender<Act>>,
    thread: Option<Worker>,
}

impl Journal {
    /// Starts the committing thread.
    pub(crate) fn start<S: ConsentStore>(
        store: Arc<S>,
        outstanding: Arc<Outstanding>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        // As long as requests are: each waits for its own.
        let (sender, acts) = mpsc::unbounded_channel();
        let thread = edge::worker("gate-journal", commit_all(store, outstanding, clock, acts));
        let started = |thread| Self { acts: Some(sender), thread: Some(thread) };
        thread.map(started).map_err(|e| StoreError::Backend(e.to_string()))
    }

    /// Makes one act durable.
    pub(crate) async fn record(
        &self,
        entry: AuditEntry,
        accesses: Vec<(PrincipalId, AccessRow)>,
        tickets: Vec<TicketRow>,
    ) -> Result<(), GateError> {
        self.begin(entry, accesses, tickets)?.durable().await
    }

    /// Hands one act over to be made durable, also if nobody waits for it.
    pub(crate) fn begin(
        &self,
        entry: AuditEntry,
        accesses: Vec<(PrincipalId, AccessRow)>,
        tickets: Vec<TicketRow>,
    ) -> Result<Recording, GateError> {
        let (done, answer) = oneshot::channel();
        let acts = self.acts.as_ref().ok_or(GateError::Worker)?;
        acts.send(Act { entry, accesses, tickets, done }).map_err(|_| GateError::Worker)?;
        Ok(Recording(answer))
    }
}

/// An act on its way to the disk.
#[must_use = "an act is answered for when it is durable"]
pub(crate) struct Recording(oneshot::Receiver<Result<(), StoreError>>);

impl Recording {
    /// Waits until it is there.
    pub(crate) async fn durable(self) -> Result<(), GateError> {
        Ok(self.0.await.map_err(|_| GateError::Worker)??)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.acts.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

async fn commit_all<S: ConsentStore>(
    store: Arc<S>,
    outstanding: Arc<Outstanding>,
    clock: Clock,
    mut acts: mpsc::UnboundedReceiver<Act>,
) {
    while let Some(first) = acts.recv().await {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = acts.try_recv()
        {
            group.push(next);
        }
        let expired = outstanding.take_expired(clock());
        let result = store.write(|txn| {
            for act in &group {
                txn.append_act(&act.entry, &act.accesses)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AuditKind, MemoryStore, ReadConsents as _, Spent};

    #[test]
    fn an_act_is_kept_though_nobody_waits_for_it() {
        let store = Arc::new(MemoryStore::default());
        let journal = Journal::start(store.clone(), Arc::default(), Arc::new(|| 1)).expect("a thread");
        let entry = AuditEntry {
            at: 1,
            kind: AuditKind::Search,
            caller: PrincipalId([1; 16]),
            owner: None,
            purpose: None,
            count: 2,
            owners: 1,
            spent: Spent::default(),
        };
        drop(journal.begin(entry.clone(), Vec::new(), Vec::new()).expect("handed over"));
        drop(journal);
        assert_eq!(store.read(|s| s.audit_from(0, 9)), Ok(vec![entry]));
    }
}
