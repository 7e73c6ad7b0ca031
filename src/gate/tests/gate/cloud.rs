//! A stand-in for the cloud, the gate's peer: keeps what it is given, evaluates clauses plainly, notes
//! what it was asked and which tickets were withdrawn.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use sealdex_crypto::{PrincipalId, RecordId};
use sealdex_gate::cloud::{Cloud, CloudAnswer, CloudError};
use sealdex_ledger::SignedAct;
use sealdex_wire::{
    acts::{ActsTaken, PostActs},
    erasure::{ScanPlace, ScanRecords, Scanned},
    ingest::{BridgeRequest, BridgeResponse, BridgedRecord},
    roster::Server,
    search::{CloudClause, CloudCursor, CloudMatch, CloudMatches, CloudSearch, WithdrawTickets},
};

type Hook = Box<dyn Fn() + Send + Sync>;
type ScanHook = Box<dyn Fn(&Scanned) + Send + Sync>;

#[derive(Default)]
pub struct FakeCloud {
    pub records: Mutex<BTreeMap<RecordId, (PrincipalId, BridgedRecord)>>,
    /// Ids in the order in which they were stored, each a batch of its own.
    pub accepted: Mutex<Vec<RecordId>>,
    pub asked: Mutex<Vec<CloudSearch>>,
    pub withdrawn: Mutex<HashSet<[u8; 16]>>,
    pub down: AtomicBool,
    pub withdrawals: AtomicUsize,
    /// The log of acts.
    pub acts: Mutex<Vec<Vec<u8>>>,
    /// How many entries it takes of the next request before it does not answer any more.
    pub breaks_after: Mutex<Option<usize>>,
    /// Which store it says it has.
    pub store_id: Mutex<Option<[u8; 16]>>,
    /// Called after a page of records was read, before it is answered.
    pub after_scan: Mutex<Option<ScanHook>>,
    /// Called after a search was evaluated, before it is answered.
    pub after_search: Mutex<Option<Hook>>,
}

impl FakeCloud {
    pub fn store(&self, provider: PrincipalId, batch: &BridgeRequest, response: &BridgeResponse) {
        let mut records = self.records.lock().unwrap();
        for (r, index) in batch.records.iter().zip(&response.records) {
            records.insert(r.id, (provider, index.clone()));
            self.accepted.lock().unwrap().push(r.id);
        }
    }

    pub fn evaluate(&self, request: &CloudSearch) -> CloudMatches {
        request.clause.check().unwrap();
        let records = self.records.lock().unwrap();
        let mut hits: Vec<(u64, RecordId, PrincipalId, Vec<u8>)> = Vec::new();
        for (id, (provider, index)) in records.iter().filter(|(_, (p, r))| matches(&request.clause, *p, r)) {
            match request.sort {
                None => hits.push((0, *id, *provider, index.tag.clone())),
                Some(sort) => hits
                    .extend(codes(index, sort.tag).into_iter().min().map(|c| (c, *id, *provider, index.tag.clone()))),
            }
        }
        hits.sort_unstable_by_key(|h| (h.0, h.1));
        if request.sort.is_some_and(|s| s.descending) {
            hits.reverse();
        }
        if let Some(after) = request.after {
            let before = |h: &(u64, RecordId, _, _)| match request.sort {
                Some(s) if s.descending => (h.0, h.1) >= (after.code, after.id),
                _ => (h.0, h.1) <= (after.code, after.id),
            };
            let skip = hits.iter().take_while(|h| before(h)).count();
            hits.drain(..skip);
        }
        let more = hits.len() > request.limit as usize;
        hits.truncate(request.limit as usize);
        let next = hits.last().filter(|_| more).map(|h| CloudCursor { code: h.0, id: h.1 });
        let mut providers: Vec<PrincipalId> = hits.iter().map(|h| h.2).collect();
        providers.sort_unstable();
        providers.dedup();
        let place = |p| providers.iter().position(|q| *q == p).unwrap() as u32;
        let matches = hits.into_iter().map(|h| CloudMatch(h.1, place(h.2), h.3)).collect();
        CloudMatches { matches, next, providers, proof: None }
    }
}

fn codes(index: &BridgedRecord, tag: [u8; 8]) -> Vec<u64> {
    let runs = index.terms.chunks(16).filter(|t| t[..8] == tag);
    runs.map(|t| u64::from_be_bytes(t[8..].try_into().unwrap())).collect()
}

fn matches(clause: &CloudClause, provider: PrincipalId, index: &BridgedRecord) -> bool {
    let all = |cs: &[CloudClause]| cs.iter().all(|c| matches(c, provider, index));
    match clause {
        CloudClause::All => true,
        CloudClause::Terms(terms) => terms.chunks(16).any(|t| index.terms.chunks(16).any(|u| u == t)),
        CloudClause::Range { tag, lo, hi } => codes(index, *tag).iter().any(|c| (lo..=hi).contains(&c)),
        CloudClause::Source(ids) => ids.contains(&provider),
        CloudClause::And(cs) => all(cs),
        CloudClause::Or(cs) => cs.iter().any(|c| matches(c, provider, index)),
        CloudClause::Not(c) => !matches(c, provider, index),
    }
}

impl Cloud for FakeCloud {
    fn search<'a>(&'a self, _: &'a Server, request: &'a CloudSearch) -> CloudAnswer<'a, CloudMatches> {
        Box::pin(async move {
            if self.down.load(Ordering::SeqCst) {
                return Err(CloudError::Protocol("down"));
            }
            self.asked.lock().unwrap().push(request.clone());
            let answer = self.evaluate(request);
            if let Some(hook) = &*self.after_search.lock().unwrap() {
                hook();
            }
            Ok(answer)
        })
    }

    fn scan<'a>(&'a self, _: &'a Server, request: &'a ScanRecords) -> CloudAnswer<'a, Scanned> {
        Box::pin(async move {
            if self.down.load(Ordering::SeqCst) {
                return Err(CloudError::Protocol("down"));
            }
            let (accepted, records) = (self.accepted.lock().unwrap(), self.records.lock().unwrap());
            let from = (request.from.seq as usize - 1).min(accepted.len());
            // Two at a time, so that there are pages.
            let upto = accepted.len().min(from + 2);
            let live = accepted[from..upto].iter().filter_map(|id| records.get(id).map(|r| (*id, r)));
            let (mut found, mut providers) = (Vec::new(), Vec::new());
            for (id, (provider, index)) in live {
                found.push(CloudMatch(id, providers.len() as u32, index.tag.clone()));
                providers.push(*provider);
            }
            let next = ScanPlace { seq: upto as u64 + 1, place: 0 };
            let (more, store) = (upto < accepted.len(), *self.store_id.lock().unwrap());
            let answer = Scanned { providers, records: found, next, more, store };
            if let Some(hook) = &*self.after_scan.lock().unwrap() {
                hook(&answer);
            }
            Ok(answer)
        })
    }

    fn log_acts<'a>(&'a self, _: &'a Server, posted: &'a PostActs) -> CloudAnswer<'a, ActsTaken> {
        Box::pin(async move {
            if self.down.load(Ordering::SeqCst) {
                return Err(CloudError::Protocol("down"));
            }
            let breaks = self.breaks_after.lock().unwrap().take();
            let mut acts = self.acts.lock().unwrap();
            for entry in posted.entries.iter().take(breaks.unwrap_or(usize::MAX)) {
                let number = SignedAct::from_entry(entry).unwrap().entry.number as usize;
                assert!(number <= acts.len() + 1, "a gap before {number}");
                match acts.get(number - 1) {
                    Some(known) => assert_eq!(known, entry.as_slice(), "entry {number} is another than it was"),
                    None => acts.push(entry.to_vec()),
                }
            }
            match breaks {
                Some(_) => Err(CloudError::Protocol("broken")),
                None => Ok(ActsTaken { last: acts.last().map(|e| e.clone().into()) }),
            }
        })
    }

    fn withdraw<'a>(&'a self, _: &'a Server, request: &'a WithdrawTickets) -> CloudAnswer<'a, ()> {
        Box::pin(async move {
            self.withdrawals.fetch_add(1, Ordering::SeqCst);
            if self.down.load(Ordering::SeqCst) {
                return Err(CloudError::Protocol("down"));
            }
            let nonces = request.nonces.chunks(16).map(|n| <[u8; 16]>::try_from(n).unwrap());
            self.withdrawn.lock().unwrap().extend(nonces);
            Ok(())
        })
    }
}

/// The same over HTTP, for gates that call over sockets.
pub mod over_http {
    use axum::{Router, extract::FromRef, extract::State, routing::post};
    use sealdex_crypto::PublicIdentity;
    use sealdex_net::{Authenticator, Call, Cbor, Directory, Listen, Refusal};

    use super::*;

    pub struct Known(pub Vec<PublicIdentity>);

    impl Directory for Known {
        fn keys(&self, id: PrincipalId) -> Option<PublicIdentity> {
            self.0.iter().find(|k| k.id() == id).copied()
        }
    }

    #[derive(Clone)]
    struct App(Arc<FakeCloud>, Arc<Authenticator>);

    impl FromRef<App> for Arc<Authenticator> {
        fn from_ref(app: &App) -> Self {
            app.1.clone()
        }
    }

    async fn search(State(app): State<App>, call: Call) -> Result<Cbor<CloudMatches>, Refusal> {
        assert!(call.caller.known, "only the gate asks");
        let request: CloudSearch = call.cbor()?;
        app.0.asked.lock().unwrap().push(request.clone());
        Ok(Cbor(app.0.evaluate(&request)))
    }

    async fn withdraw(State(app): State<App>, call: Call) -> Result<Cbor<()>, Refusal> {
        assert!(call.caller.known, "only the gate withdraws");
        let request: WithdrawTickets = call.cbor()?;
        let nonces = request.nonces.chunks(16).map(|n| <[u8; 16]>::try_from(n).unwrap());
        app.0.withdrawn.lock().unwrap().extend(nonces);
        Ok(Cbor(()))
    }

    /// Serves until the test's runtime ends; its URL.
    pub async fn serve(cloud: Arc<FakeCloud>, id: PrincipalId, gate: PublicIdentity) -> String {
        let auth = Arc::new(Authenticator::new(crate::domain::DOMAIN, id, Arc::new(Known(vec![gate]))));
        let router = Router::new()
            .route("/v1/search", post(search))
            .route("/v1/tickets/withdraw", post(withdraw))
            .with_state(App(cloud, auth));
        let listener = Listen::loopback(0).bind().await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(sealdex_net::serve(listener, None, router, std::future::pending()));
        url
    }
}
