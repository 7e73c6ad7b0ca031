//! A user's connection to a domain: asks, opens, decides exactly.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealdex_crypto::PrincipalId;
use sealdex_fhir::search::Places;
use sealdex_fhir::{
    Figures, Hit, IndexClause, QueryDoc, QueryError, Record, RecordError, Resolved, SortField, plan, resolve, subjects,
};
use sealdex_member::{GateLink, IndexKeys, MemberKeys, PackError, Trusted};
use sealdex_net::{CallError, Peer, peer::Http};
use sealdex_schema::{ID_FIELD, Scope};
use sealdex_wire::{
    ProblemType, limits,
    search::{CountRequest, Counted, InnerClause, InnerSort, SearchRequest, SearchResponse},
};

use crate::{
    compile::{CompileError, compile},
    group::{self, GroupError},
    opening::{Check, Opened, Opener, OpeningError},
    verified::{Proved, Verifier, VerifyError},
};

/// Purpose of use when a query names none.
pub const DEFAULT_PURPOSE: &str = "treatment";
/// Records that one FHIR search may open, unless told otherwise.
pub const MOST_OPENED: u64 = 500_000;
/// Times a page is asked for when consent or the store changes in between. A hospital that pushes all it has again replaces
/// records several times a second, and a busy machine lets every other page be overtaken.
const ATTEMPTS: u32 = 16;
/// Identities asked for in one search when joining on patients.
const JOIN: usize = 2048;

/// Why a question was not answered. Never an empty answer instead.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The question does not fit the schema.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// It could not be put to the index.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The domain pack or an address cannot be used.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The gate refused or does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer is not what the log has, or cannot be checked.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A match could not be opened.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// An opened record is not a record.
    #[error("an opened record is malformed: {0}")]
    Record(#[from] RecordError),
    /// The key file is of no use.
    #[error("the member key file holds an invalid token key")]
    Keys,
    /// It would open more records than this session may for one question.
    #[error(
        "more than {0} records would have to be opened to answer this: add a parameter that narrows the search, or raise the limit"
    )]
    TooCostly(u64),
    /// A group's charter or keys cannot be used.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A question that takes reading to answer.
    #[error("this question takes opening records: only conditions of one type, in a query document, can be counted")]
    NotCountable,
    /// A worker died.
    #[error("the query stopped unexpectedly: {0}")]
    Died(String),
}

/// An exact answer over what this user may see.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Records, in the asked order.
    pub hits: Vec<Hit>,
    /// Counts and aggregates, if asked for.
    pub figures: Figures,
    /// Hospitals the search covered.
    pub covered: BTreeSet<String>,
    /// What the index could not narrow.
    pub notes: Vec<String>,
    /// Work done.
    pub cost: Cost,
    /// What was proved by the log; `None` where it was not asked.
    pub proved: Option<Proved>,
    /// What the index was asked, in order, if the session explains itself.
    pub steps: Vec<Step>,
}

/// One question to the index, and what became of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was asked.
    pub clause: IndexClause,
    /// Field by which the cloud sorted, largest first.
    pub sorted_by: Option<Arc<str>>,
    /// Work done.
    pub cost: Cost,
}

/// Work done for an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Searches at the gate.
    pub searches: u64,
    /// Records opened.
    pub opened: u64,
    /// Capsules re-encapsulated.
    pub capsules: u64,
    /// From question to answer.
    pub elapsed: Duration,
}

/// A user's session. Cheap to keep, and faster the longer it lives: grant secrets are cached.
pub struct Session {
    trusted: Trusted,
    keys: IndexKeys,
    opener: Arc<Opener>,
    identity: Arc<sealdex_crypto::Identity>,
    gate: GateLink,
    cloud: Peer,
    verifier: Option<Arc<Verifier>>,
    names: HashMap<PrincipalId, String>,
    pub(crate) purpose: String,
    pub(crate) most: u64,
    explaining: bool,
}

/// One question under way.
pub(crate) struct Asking {
    purpose: String,
    pub(crate) covered: BTreeSet<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) cost: Cost,
    pub(crate) proved: Proved,
    /// Most records it may open.
    most: u64,
    steps: Vec<Step>,
}

impl Asking {
    pub(crate) fn new(purpose: &str, most: u64) -> Self {
        let (covered, notes) = (BTreeSet::new(), Vec::new());
        let (cost, proved, steps) = (Cost::default(), Proved::default(), Vec::new());
        Self { purpose: purpose.into(), covered, notes, cost, proved, most, steps }
    }
}

impl Session {
    /// A session of this member.
    pub fn new(http: &Http, keys: &MemberKeys, trusted: Trusted) -> Result<Self, AskError> {
        let (gate, cloud) = (trusted.gate(http, keys)?, trusted.cloud(http, None)?);
        let opener = Opener::new(&trusted.roster.domain, trusted.schema.clone(), &[&keys.identity, &keys.everyone]);
        let names =
            trusted.roster.members.iter().map(|m| (m.id, m.name.clone().unwrap_or_else(|| m.id.to_string()))).collect();
        Ok(Self {
            keys: IndexKeys::new(keys).ok_or(AskError::Keys)?,
            opener: Arc::new(opener),
            identity: keys.identity.clone(),
            gate,
            cloud,
            verifier: Verifier::open(http, &trusted, None)?.map(Arc::new),
            names,
            trusted,
            purpose: DEFAULT_PURPOSE.into(),
            most: MOST_OPENED,
            explaining: false,
        })
    }

    /// Another default purpose of use.
    #[must_use]
    pub fn for_purpose(mut self, purpose: &str) -> Self {
        self.purpose = purpose.into();
        self
    }

    /// Keeps what was read of the log in a folder, so that a later session notices if the log takes something back.
    ///
    /// # Errors
    /// [`AskError::Verify`].
    pub fn remembering(mut self, http: &Http, folder: &Path) -> Result<Self, AskError> {
        if self.verifier.take().is_some() {
            self.verifier = Verifier::open(http, &self.trusted, Some(folder.into()))?.map(Arc::new);
        }
        Ok(self)
    }

    /// Believes the cloud: nothing is checked against the log.
    #[must_use]
    pub fn unverified(mut self) -> Self {
        self.verifier = None;
        self
    }

    /// Keeps what the index is asked, for [`Answer::steps`].
    #[must_use]
    pub fn explaining(mut self) -> Self {
        self.explaining = true;
        self
    }

    /// Whether answers are checked against the log.
    pub fn verifies(&self) -> bool {
        self.verifier.is_some()
    }

    /// Another limit of records that one FHIR search may open.
    #[must_use]
    pub fn opening_at_most(mut self, records: u64) -> Self {
        self.most = records;
        self
    }

    /// Roster and schema.
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Answers a question, exactly, over what this user may see.
    pub async fn ask(&self, doc: &QueryDoc) -> Result<Answer, AskError> {
        let started = Instant::now();
        let question = resolve(doc, &self.trusted.schema)?;
        let purpose = doc.purpose.clone().unwrap_or_else(|| self.purpose.clone());
        let mut asking = Asking::new(&purpose, u64::MAX);
        let hits = match &question.search {
            Some(search) => search.arrange(self.matching(search, &mut asking).await?),
            None => question.arrange(self.find(&question, &mut asking).await?),
        };
        let figures = question.figures(&hits);
        asking.cost.elapsed = started.elapsed();
        asking.notes.dedup();
        let proved = self.verifies().then_some(asking.proved);
        let Asking { covered, notes, cost, steps, .. } = asking;
        Ok(Answer { hits, figures, covered, notes, cost, proved, steps })
    }

    /// All records that satisfy a question, for top-k at least the largest.
    async fn find(&self, q: &Resolved, asking: &mut Asking) -> Result<Vec<Hit>, AskError> {
        let mut wanted: Option<BTreeSet<String>> = None;
        let mut barred = BTreeSet::new();
        for has in &q.has {
            let found = Box::pin(self.find(&has.inner, asking)).await?;
            let Some(field) = self.trusted.schema.field(&has.inner.resource, "subject") else { continue };
            let patients: BTreeSet<String> = found.iter().flat_map(|h| subjects(field, &h.json)).collect();
            if has.negated {
                barred.extend(patients);
            } else {
                wanted = Some(match wanted {
                    None => patients,
                    Some(before) => before.intersection(&patients).cloned().collect(),
                });
            }
        }
        let plan = plan(q);
        asking.notes.extend(plan.notes);
        let keep = |record: &Record, sources: &BTreeSet<String>| {
            !barred.contains(&record.identity()) && q.holds(&record.json, sources)
        };
        let mut hits = Hits::new(&keep);
        match (&wanted, &plan.sort) {
            (Some(ids), _) => {
                let ids: Vec<&String> = ids.difference(&barred).collect();
                for part in ids.chunks(JOIN) {
                    let tokens = part.iter().map(|id| IndexClause::Token {
                        field: ID_FIELD.into(),
                        scope: Scope::Isolated,
                        value: id.as_bytes().to_vec(),
                    });
                    let joined = IndexClause::And(vec![IndexClause::Or(tokens.collect()), plan.clause.clone()]);
                    self.collect(&joined, &mut hits, asking).await?;
                }
                if ids.is_empty() {
                    self.note_coverage(q, asking)?;
                }
            }
            (None, Some(sort)) if sort.scope == Scope::Merged => {
                self.largest(q, &plan.clause, sort, &mut hits, asking).await?
            }
            (None, _) => self.collect(&plan.clause, &mut hits, asking).await?,
        }
        Ok(hits.into_vec())
    }

    /// All matches of a clause.
    pub(crate) async fn collect(
        &self,
        clause: &IndexClause,
        hits: &mut Hits<'_>,
        asking: &mut Asking,
    ) -> Result<(), AskError> {
        let (asked, started, before) = (clause, Instant::now(), asking.cost);
        let clause = self.compile(clause)?;
        let mut cursor = None;
        loop {
            let request = SearchRequest {
                clause: clause.clone(),
                purpose: asking.purpose.clone(),
                sort: None,
                limit: limits::PAGE,
                cursor,
                prove: self.verifies(),
            };
            cursor = self.page(&request, hits, asking).await?;
            if cursor.is_none() {
                self.step(asked, None, started, before, asking);
                return Ok(());
            }
        }
    }

    /// Keeps what was asked, if this session explains itself.
    fn step(
        &self,
        clause: &IndexClause,
        sorted_by: Option<Arc<str>>,
        started: Instant,
        before: Cost,
        asking: &mut Asking,
    ) {
        if self.explaining {
            let now = asking.cost;
            let cost = Cost {
                searches: now.searches - before.searches,
                opened: now.opened - before.opened,
                capsules: now.capsules - before.capsules,
                elapsed: started.elapsed(),
            };
            asking.steps.push(Step { clause: clause.clone(), sorted_by, cost });
        }
    }

    /// The largest matches, enough of them for `k`, and everything that shares the last one's place.
    async fn largest(
        &self,
        q: &Resolved,
        clause: &IndexClause,
        sort: &SortField,
        hits: &mut Hits<'_>,
        asking: &mut Asking,
    ) -> Result<(), AskError> {
        let (started, before) = (Instant::now(), asking.cost);
        let k = q.topk.as_ref().map_or(0, |(_, k)| *k);
        let compiled = self.compile(clause)?;
        let blinded = self
            .keys
            .field(&sort.field)
            .map_err(|cause| CompileError::Index { field: sort.field.to_string(), cause })?;
        let merged = sort.scope == Scope::Merged;
        let order = InnerSort { merged, field: blinded.blinded.0, descending: true };
        let mut limit = u32::try_from(k + 8).unwrap_or(limits::PAGE).min(limits::PAGE);
        let mut cursor = None;
        loop {
            let request = SearchRequest {
                clause: compiled.clone(),
                purpose: asking.purpose.clone(),
                sort: Some(order.clone()),
                limit,
                cursor,
                prove: self.verifies(),
            };
            cursor = self.page(&request, hits, asking).await?;
            if cursor.is_none() {
                self.step(clause, Some(sort.field.clone()), started, before, asking);
                return Ok(());
            }
            if let Some(last) = hits.rank_of(q, k) {
                self.step(clause, Some(sort.field.clone()), started, before, asking);
                let place = last.bound(&sort.quantiser);
                let tied = IndexClause::Order {
                    field: sort.field.clone(),
                    scope: sort.scope,
                    bits: sort.bits,
                    from: place,
                    to: place,
                };
                return self.collect(&IndexClause::And(vec![clause.clone(), tied]), hits, asking).await;
            }
            limit = limit.saturating_mul(2).min(limits::PAGE);
        }
    }

    pub(crate) fn compile(&self, clause: &IndexClause) -> Result<InnerClause, CompileError> {
        compile(clause, &self.keys, &|name| self.provider(name))
    }

    fn provider(&self, name: &str) -> Result<PrincipalId, CompileError> {
        let known = || {
            let mut names: Vec<&str> = self
                .trusted
                .roster
                .members
                .iter()
                .filter_map(|m| match m.role {
                    sealdex_wire::roster::Role::Provider => m.name.as_deref(),
                    sealdex_wire::roster::Role::User => None,
                })
                .collect();
            names.sort_unstable();
            names.join(", ")
        };
        let member = self.trusted.roster.named(name).filter(|m| m.role == sealdex_wire::roster::Role::Provider);
        member.map(|m| m.id).ok_or_else(|| CompileError::UnknownSource { name: name.into(), known: known() })
    }

    pub(crate) fn name(&self, id: PrincipalId) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// Coverage of a search that need not be made, since no patient is left: as wide as it would be.
    fn note_coverage(&self, q: &Resolved, asking: &mut Asking) -> Result<(), AskError> {
        self.compile(&plan(q).clause)?;
        asking.covered.extend(self.trusted.roster.hospitals().map(|id| self.name(id)));
        Ok(())
    }

    /// One page: search, open, keep what holds.
    async fn page(
        &self,
        request: &SearchRequest,
        hits: &mut Hits<'_>,
        asking: &mut Asking,
    ) -> Result<Option<serde_bytes::ByteBuf>, AskError> {
        let (opened, cursor) = self.search_and_open(request, asking, parse).await?;
        asking.cost.opened += opened.len() as u64;
        if asking.cost.opened > asking.most {
            return Err(AskError::TooCostly(asking.most));
        }
        for read in opened {
            let (record, provider) = read?;
            hits.add(record, self.name(provider));
        }
        Ok(cursor)
    }

    /// Fetches the charters of this member's groups and takes in their keys.
    async fn learn_groups(&self) -> Result<(), AskError> {
        for group in group::list(&self.gate, &self.trusted, true).await? {
            self.opener.learn(group.id, group::member_keys(&group, &self.identity)?);
        }
        Ok(())
    }

    /// How many patients and records match, for members who may count and not read. Bounds are rounded outward to
    /// whole steps of the index, as nothing is opened to decide exactly.
    pub async fn count(&self, doc: &QueryDoc) -> Result<(Counted, Vec<String>), AskError> {
        let question = resolve(doc, &self.trusted.schema)?;
        let purpose = doc.purpose.clone().unwrap_or_else(|| self.purpose.clone());
        let plan = match &question.search {
            None if question.has.is_empty() => plan(&question),
            _ => return Err(AskError::NotCountable),
        };
        let request = CountRequest { clause: self.compile(&plan.clause)?, purpose };
        Ok((self.gate.count(&request).await?, plan.notes))
    }

    /// Searches and opens, and makes of each record what `read` does. A ticket can be withdrawn between the two, because
    /// some owner whose record it covers has just revoked, and a record can be replaced: then the page is asked for again.
    pub(crate) async fn search_and_open<T: Send + 'static>(
        &self,
        request: &SearchRequest,
        asking: &mut Asking,
        read: fn(Opened) -> T,
    ) -> Result<Page<T>, AskError> {
        let (mut attempt, mut prove) = (1, false);
        loop {
            let known = match &self.verifier {
                Some(verifier) => verifier.known(&self.gate).await?,
                None => 0,
            };
            let response = self.gate.search(request, prove).await?;
            asking.cost.searches += 1;
            asking.covered.extend(response.covered.iter().map(|id| self.name(*id)));
            let (capsules, cursor) = (response.groups.len() as u64, response.cursor.clone());
            let mut proved = asking.proved.clone();
            match self.verify_and_open(response, known, &mut proved, read).await? {
                Ok(opened) => {
                    let note = |(n, what)| format!("node {n} of the gate sent a wrong result and was left out: {what}");
                    asking.notes.extend(self.gate.left_out().into_iter().map(note));
                    asking.cost.capsules += capsules;
                    asking.proved = proved;
                    return Ok((opened, cursor));
                }
                Err(OpeningError::Reader(..)) if attempt < ATTEMPTS => {
                    self.learn_groups().await?;
                    attempt += 1;
                }
                // Perhaps a node of the gate sent a wrong part: its proof tells.
                Err(OpeningError::Refused(_)) if !prove && self.gate.nodes().is_some() => prove = true,
                Err(e) if attempt < ATTEMPTS && overtaken(&e) => attempt += 1,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Fetches and opens what an answer names while it is checked that it names all. An answer that fails the check is
    /// none, whatever became of its records.
    async fn verify_and_open<T: Send + 'static>(
        &self,
        response: SearchResponse,
        known: u64,
        proved: &mut Proved,
        read: fn(Opened) -> T,
    ) -> Result<Result<Vec<T>, OpeningError>, VerifyError> {
        let SearchResponse { groups, tickets, completeness, .. } = response;
        let groups = Arc::new(groups);
        let whole = async {
            match &self.verifier {
                Some(v) => v.completeness(&self.gate, known, completeness, &groups, proved).await,
                None => Ok(()),
            }
        };
        if groups.is_empty() {
            return whole.await.map(|()| Ok(Vec::new()));
        }
        let check = self.verifier.as_ref().map(|verifier| Check { verifier, gate: &self.gate, known });
        let checked = check.is_some();
        let (whole, opened) = tokio::join!(whole, self.opener.open(groups.clone(), tickets, &self.cloud, check, read));
        whole?;
        Ok(opened.map(|(opened, checking)| {
            proved.records += if checked { opened.len() as u64 } else { 0 };
            proved.elapsed += checking;
            opened
        }))
    }
}

/// Records, opened and read, and where the next page starts.
pub(crate) type Page<T> = (Vec<T>, Option<serde_bytes::ByteBuf>);

/// Whether consent or the store changed between searching and fetching.
fn overtaken(e: &OpeningError) -> bool {
    match e {
        OpeningError::Gone(_) => true,
        OpeningError::Call(call) => call.problem_type() == Some(ProblemType::Forbidden),
        _ => false,
    }
}

pub(crate) fn parse(opened: Opened) -> Result<(Record, PrincipalId), RecordError> {
    Ok((Record::from_bytes(opened.bytes)?, opened.provider))
}

/// Decides on a record from these providers.
pub(crate) type Keep<'q> = dyn Fn(&Record, &BTreeSet<String>) -> bool + Sync + 'q;

/// What holds, each resource once.
pub(crate) struct Hits<'q> {
    keep: &'q Keep<'q>,
    found: BTreeMap<String, Hit>,
    slim: Option<Slim<'q>>,
}

/// Where a record stands in an order.
pub(crate) type Placing<'q> = dyn Fn(&serde_json::Value) -> Places + Sync + 'q;

/// Beyond so many hits, only identities and places in the order are kept.
struct Slim<'q> {
    place: &'q Placing<'q>,
    after: usize,
    listed: BTreeMap<String, Places>,
}

impl<'q> Hits<'q> {
    pub(crate) fn new(keep: &'q Keep<'q>) -> Self {
        Self { keep, found: BTreeMap::new(), slim: None }
    }

    /// Keeps `whole` hits at most: when there are more, none whole, but all their identities and places.
    pub(crate) fn slimming(keep: &'q Keep<'q>, place: &'q Placing<'q>, whole: usize) -> Self {
        Self { keep, found: BTreeMap::new(), slim: Some(Slim { place, after: whole, listed: BTreeMap::new() }) }
    }

    fn add(&mut self, record: Record, source: String) {
        let sources = BTreeSet::from([source]);
        if !(self.keep)(&record, &sources) {
            return;
        }
        let identity = record.identity();
        if let Some(slim) = self.slim.as_mut().filter(|s| !s.listed.is_empty()) {
            slim.listed.entry(identity).or_insert_with(|| (slim.place)(&record.json));
            return;
        }
        match self.found.get_mut(&identity) {
            Some(hit) => hit.sources.extend(sources),
            None => {
                let hit = Hit { identity: identity.clone(), json: record.json, bytes: record.bytes, sources };
                self.found.insert(identity, hit);
            }
        }
        if let Some(slim) = self.slim.as_mut().filter(|s| self.found.len() > s.after) {
            let listed = std::mem::take(&mut self.found).into_iter();
            slim.listed = listed.map(|(identity, hit)| (identity, (slim.place)(&hit.json))).collect();
        }
    }

    /// Identities and places, when there were too many to keep whole.
    pub(crate) fn take_slim(&mut self) -> Option<Vec<(Places, String)>> {
        let listed = std::mem::take(&mut self.slim.as_mut()?.listed);
        (!listed.is_empty()).then(|| listed.into_iter().map(|(identity, places)| (places, identity)).collect())
    }

    /// Rank of the `k`-th largest, if there are that many.
    fn rank_of(&self, question: &Resolved, k: usize) -> Option<sealdex_schema::Value> {
        let hits = question.arrange(self.found.values().cloned().collect());
        let last = hits.get(k.checked_sub(1)?)?;
        question.rank(&last.json)
    }

    pub(crate) fn into_vec(self) -> Vec<Hit> {
        self.found.into_values().collect()
    }
}
