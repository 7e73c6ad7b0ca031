//! Searching: from a member's inner query to permitted, re-encapsulated matches and their tickets.
//!
//! The cloud is asked page by page; of each page, what the caller may not read is dropped by
//! `permit`. Reading grants for good, multiplying and issuing tickets happens under the read side of
//! the gate's barrier (`answer`), never waiting for the network, so that a revocation, which takes the
//! write side, comes wholly before or wholly after it.

pub(crate) mod answer;
pub(crate) mod cursor;
pub(crate) mod pages;
pub(crate) mod permit;
pub(crate) mod proving;

use std::{cell::RefCell, collections::HashSet, sync::Arc};

use sealdex_crypto::PrincipalId;
use sealdex_net::trace::{Stage, carried};
use sealdex_wire::{
    B32, ProblemType,
    auth::sha256,
    limits,
    search::{
        ClauseError, CloudSort, CountRequest, Counted, InnerClause, InnerSort, Scoped, SearchRequest, SearchResponse,
    },
    threshold::WithTurns,
};
use tokio::task::JoinSet;

use crate::{
    error::GateError,
    gate::{Gate, blocking},
    members::Members,
    nodes::turns::Bridges,
    rules::is_name,
    store::{AuditEntry, AuditKind, ConsentStore, Spent},
    term_keys::Scope,
    unfold::{Unfolding, hospitals},
};
use cursor::{Cursor, Position};
use pages::{Asker, Stream, gather};
use proving::{Proving, scoped};

/// Why a search was refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SearchRefusal {
    /// The query is too deep, too wide or has a range that is none.
    #[error(transparent)]
    Clause(#[from] ClauseError),
    /// A range that does not fit its width.
    #[error("a range of the query is not a range of codes")]
    Range,
    /// A bridged token that is no point.
    #[error("a bridged token of the query is no point of the curve")]
    Token,
    /// No purpose of use.
    #[error("a search must state its purpose of use (at most {} bytes)", limits::NAME)]
    Purpose,
    /// A limit that is none.
    #[error("the limit must be between 1 and {}, and at most {} matches over all hospitals", limits::PAGE, MAX_MATCHES)]
    Limit,
    /// A provider the roster does not list.
    #[error("{0} is no provider of this domain")]
    UnknownProvider(PrincipalId),
    /// Too many terms once unfolded.
    #[error(
        "the query unfolds to {leaves} terms over {hospitals} hospitals, the cloud takes {}: name fewer sources or values",
        limits::CLOUD_LEAVES
    )]
    TooWide {
        /// Terms and ranges.
        leaves: usize,
        /// Hospitals.
        hospitals: usize,
    },
    /// A cursor of another query, caller or gate.
    #[error("the cursor belongs to another query or caller: start the search again")]
    Cursor,
}

impl SearchRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::UnknownProvider(_) => ProblemType::NotFound,
            _ => ProblemType::Malformed,
        }
    }
}

/// Most matches of one answer, over all hospitals.
const MAX_MATCHES: usize = 4 * limits::PAGE as usize;
/// Searches at the cloud under way at once for one request.
const PARALLEL_STREAMS: usize = 8;

/// Refuses a request that makes no sense, before anything is computed.
fn check(request: &SearchRequest) -> Result<(), SearchRefusal> {
    request.clause.check()?;
    if !is_name(&request.purpose) {
        return Err(SearchRefusal::Purpose);
    }
    if (1..=limits::PAGE).contains(&request.limit) { Ok(()) } else { Err(SearchRefusal::Limit) }
}

/// What a query takes of its caller's budget.
fn spent(clause: &InnerClause) -> Spent {
    let [tokens, ranges, entries] = clause.spent();
    Spent { tokens, ranges, entries }
}

/// What to ask the cloud.
struct Plan {
    streams: Vec<Stream>,
    covered: Vec<PrincipalId>,
}

impl<S: ConsentStore> Gate<S> {
    /// Answers one search of an active member. Of what matches, only what is granted to the caller (or
    /// to the group of all members) for this purpose, now, is returned.
    ///
    /// # Errors
    /// [`GateError`]; nothing is returned then, and no ticket is good.
    pub async fn search(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: SearchRequest,
    ) -> Result<SearchResponse, GateError> {
        self.search_with(caller, request, None).await
    }

    /// As [`Gate::search`], with the other nodes' turns if there are several.
    pub(crate) async fn search_with(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: SearchRequest,
        turns: Option<WithTurns>,
    ) -> Result<SearchResponse, GateError> {
        self.serving()?;
        let _slot = self.slot()?;
        let members = self.members()?;
        let known = members.active(caller)?;
        self.may_read(caller, &members)?;
        check(&request)?;
        let spent = spent(&request.clause);
        self.charge(caller, known, &members, spent).await?;
        let request = Arc::new(request);
        let search = turns.as_ref().map(|t| B32(sha256(&[&t.request])));
        let Plan { streams, covered } = {
            let _stage = Stage::gate("unfold");
            let (gate, members, request) = (self.clone(), members.clone(), request.clone());
            let work = move || {
                let bridges = gate.bridges(caller, &members, turns.as_ref(), spent)?;
                gate.plan(caller, &members, &request, &bridges)
            };
            blocking(work).await?
        };
        let generation = self.generation();
        let asker = Asker { search, ..self.asker(caller, &request.purpose, &members) };
        let asker = Arc::new(asker);
        let proving = match request.prove && members.roster().ledger.is_some() {
            true => Some(Arc::new(Proving::begin(&self.followed, &*self.cloud, &members, true).await?)),
            false => None,
        };
        let (positions, found) =
            self.gather_all(streams, &members, asker.clone(), request.limit, proving.clone()).await?;
        let mut response = self.answer(asker, generation, found, spent).await?;
        response.covered = covered;
        response.completeness = proving.and_then(Arc::into_inner).map(Proving::end);
        if positions.iter().any(|p| !p.done) {
            let sealed = Cursor(positions).seal(&self.secrets.cursor_key, caller, &request);
            response.cursor = Some(sealed.into());
        }
        Ok(response)
    }

    /// Who asks, and whose grants it may use now.
    pub(crate) fn asker(&self, caller: PrincipalId, purpose: &str, members: &Arc<Members>) -> pages::Asker {
        let readers = self.groups().readers_for(caller, members);
        pages::Asker { caller, readers, purpose: purpose.to_owned(), members: members.clone(), search: None }
    }

    /// Counts matches that are granted to a member who may count and not read. No capsule is re-encapsulated and no
    /// ticket issued. What is told is rounded down to a multiple of the member's step, and nothing below one step.
    ///
    /// # Errors
    /// [`GateError`]; nothing is told then.
    pub async fn count(self: &Arc<Self>, caller: PrincipalId, request: CountRequest) -> Result<Counted, GateError> {
        self.count_with(caller, request, None).await
    }

    /// As [`Gate::count`], with the other nodes' turns if there are several.
    pub(crate) async fn count_with(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: CountRequest,
        turns: Option<WithTurns>,
    ) -> Result<Counted, GateError> {
        self.serving()?;
        let _slot = self.slot()?;
        let members = self.members()?;
        let known = members.active(caller)?;
        let step = known.counts_from.unwrap_or(1).max(1);
        let purpose = request.purpose;
        let request = SearchRequest {
            clause: request.clause,
            purpose,
            sort: None,
            limit: limits::PAGE,
            cursor: None,
            prove: true,
        };
        check(&request)?;
        let spent = spent(&request.clause);
        self.charge(caller, known, &members, spent).await?;
        let request = Arc::new(request);
        let asker = Arc::new(self.asker(caller, &request.purpose, &members));
        let Plan { streams, .. } = {
            let _stage = Stage::gate("unfold");
            let (gate, members, request) = (self.clone(), members.clone(), request.clone());
            let work = move || {
                let bridges = gate.bridges(caller, &members, turns.as_ref(), spent)?;
                gate.plan(caller, &members, &request, &bridges)
            };
            blocking(work).await?
        };
        let proving = match members.roster().ledger.is_some() {
            true => Some(Arc::new(Proving::begin(&self.followed, &*self.cloud, &members, false).await?)),
            false => None,
        };
        let (mut owners, mut records) = (HashSet::new(), 0_u64);
        for mut stream in streams {
            while !stream.position.done {
                let (clause, prove) = (stream.clause.clone(), stream.prove.clone());
                let next = pages::Stream { clause, sort: None, position: stream.position, prove };
                let (position, found) =
                    gather(self, &members, asker.clone(), next, limits::PAGE, proving.clone()).await?;
                records += found.len() as u64;
                owners.extend(found.iter().map(|p| p.routing.patient));
                stream.position = position;
            }
        }
        let told = |n: u64| n - n % u64::from(step);
        let enough = owners.len() as u64 >= u64::from(step);
        let counted =
            Counted { owners: enough.then(|| told(owners.len() as u64)), records: enough.then(|| told(records)), step };
        let entry = AuditEntry {
            purpose: Some(request.purpose.clone()),
            count: counted.records.unwrap_or(0),
            spent,
            ..self.entry(AuditKind::Count, caller, 0, std::iter::empty())
        };
        self.journal.record(entry, Vec::new(), Vec::new()).await?;
        Ok(counted)
    }

    /// Unfolds the query into one stream, or into one for each hospital when each sorts by itself.
    fn plan(
        &self,
        caller: PrincipalId,
        members: &Members,
        request: &SearchRequest,
        bridges: &Bridges,
    ) -> Result<Plan, GateError> {
        let covered = hospitals(&request.clause, members)?;
        let prove = request.prove && members.roster().ledger.is_some();
        let over = |hospitals: &[PrincipalId]| -> Result<_, GateError> {
            let named = RefCell::new(Vec::new());
            let unfolding = Unfolding { keys: &self.keys, caller, bridges, hospitals, named: prove.then_some(&named) };
            let clause = unfolding.unfold(&request.clause)?;
            Ok((clause, prove.then(|| scoped(named.into_inner()))))
        };
        let positions = match &request.cursor {
            Some(sealed) => Cursor::open(&self.secrets.cursor_key, caller, request, sealed)?.0,
            None => match &request.sort {
                Some(InnerSort { merged: false, .. }) => covered.iter().map(|h| Position::start(Some(*h))).collect(),
                _ => vec![Position::start(None)],
            },
        };
        if positions.len().saturating_mul(request.limit as usize) > MAX_MATCHES {
            return Err(SearchRefusal::Limit.into());
        }
        let streams = positions.into_iter().map(|position| {
            let ((clause, mut prove), scope) = match position.hospital {
                // A record with this hospital's order tag has terms of this hospital only.
                Some(h) => (over(&[h])?, Scope::Hospital(h)),
                None => (over(&covered)?, Scope::Merged),
            };
            let sort = request.sort.as_ref().map(|sort| CloudSort {
                tag: self.keys.order(sort.field.into(), scope).tag,
                descending: sort.descending,
            });
            if let (Some(named), Some(sort), Scope::Hospital(hospital)) = (&mut prove, sort, scope) {
                let tags = sort.tag.to_vec();
                *named = scoped([std::mem::take(named), vec![Scoped { hospital, terms: Vec::new(), tags }]].concat());
            }
            Ok(Stream { clause, sort, position, prove })
        });
        Ok(Plan { streams: streams.collect::<Result<_, GateError>>()?, covered })
    }

    /// Runs all streams, a few at a time, and keeps their order.
    async fn gather_all(
        self: &Arc<Self>,
        mut streams: Vec<Stream>,
        members: &Arc<Members>,
        asker: Arc<pages::Asker>,
        limit: u32,
        proving: Option<Arc<Proving>>,
    ) -> Result<(Vec<Position>, Vec<permit::Permitted>), GateError> {
        if streams.len() == 1
            && let Some(only) = streams.pop()
        {
            let (position, found) = gather(self, members, asker, only, limit, proving).await?;
            return Ok((vec![position], found));
        }
        let mut waiting = streams.into_iter().enumerate();
        let mut running = JoinSet::new();
        let mut results = Vec::new();
        loop {
            while running.len() < PARALLEL_STREAMS
                && let Some((n, stream)) = waiting.next()
            {
                let (gate, members, asker, proving) = (self.clone(), members.clone(), asker.clone(), proving.clone());
                running.spawn(carried(async move {
                    gather(&gate, &members, asker, stream, limit, proving).await.map(|r| (n, r))
                }));
            }
            match running.join_next().await {
                None => break,
                Some(result) => results.push(result.map_err(|_| GateError::Worker)??),
            }
        }
        results.sort_unstable_by_key(|(n, _)| *n);
        let (positions, found): (Vec<_>, Vec<_>) = results.into_iter().map(|(_, r)| r).unzip();
        Ok((positions, found.into_iter().flatten().collect()))
    }
}
