//! Going through everything of a type, page by page, in bounded memory, and from any page on.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, RecordId};
use sealdex_fhir::{Hit, IndexClause, Record, RecordError};
use sealdex_schema::{ID_FIELD, Scope, TYPE_FIELD};
use sealdex_wire::{
    limits,
    search::{InnerClause, SearchRequest},
};
use serde_bytes::ByteBuf;

use crate::{
    opening::Opened,
    session::{AskError, Asking, Session, parse},
};

/// Identities asked for in one search for copies elsewhere.
const CHUNK: usize = 1024;

/// A walk under way through all records of a type, by record id.
pub struct Walk {
    clause: InnerClause,
    cursor: Option<ByteBuf>,
    done: bool,
}

/// What one page held.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Resources, by identity. One that several providers hold comes once in the whole walk: as the provider
    /// with the smallest id has it.
    pub hits: Vec<Hit>,
    /// Records of the page, copies included.
    pub records: usize,
    /// The largest record id of the page: a later walk may end there.
    pub last: Option<RecordId>,
    /// Where to go on; none at the end.
    pub next: Option<Vec<u8>>,
}

/// A record of a page and whose copy it is.
struct Copy {
    record: Record,
    provider: PrincipalId,
}

impl Session {
    /// Starts going through all resources of a type that this user may see: from the beginning, or from where
    /// an earlier walk through the same type was ([`Stretch::next`]).
    ///
    /// # Errors
    /// When the type cannot be put to the index.
    pub fn walk(&self, resource: &str, from: Option<Vec<u8>>) -> Result<Walk, AskError> {
        let value = resource.as_bytes().to_vec();
        let clause = self.compile(&IndexClause::Token { field: TYPE_FIELD.into(), scope: Scope::Isolated, value })?;
        Ok(Walk { clause, cursor: from.map(ByteBuf::from), done: false })
    }

    /// The next page of a walk, of at most `limit` records; `None` when there is no more. Records beyond
    /// `until` are left out, and end the walk.
    ///
    /// # Errors
    /// [`AskError`]; the walk then stands where it was, and the call may be repeated.
    pub async fn stretch(
        &self,
        walk: &mut Walk,
        limit: u32,
        until: Option<RecordId>,
    ) -> Result<Option<Stretch>, AskError> {
        let mut asking = Asking::new(&self.purpose, self.most);
        while !walk.done {
            let request = SearchRequest {
                clause: walk.clause.clone(),
                purpose: self.purpose.clone(),
                sort: None,
                limit: limit.clamp(1, limits::PAGE),
                cursor: walk.cursor.clone(),
                prove: self.verifies(),
            };
            let (mut opened, next) = self.search_and_open(&request, &mut asking, |opened| opened).await?;
            let beyond = |o: &Opened| until.is_some_and(|end| o.id.0 > end.0);
            let over = next.is_none() || opened.iter().any(beyond);
            opened.retain(|o| !beyond(o));
            if opened.is_empty() && !over {
                walk.cursor = next;
                continue;
            }
            let last = opened.iter().map(|o| o.id).max_by_key(|id| id.0);
            let records = opened.len();
            let hits = self.once(opened, &mut asking).await?;
            walk.done = over || until.is_some_and(|end| last.is_some_and(|l| l.0 >= end.0));
            walk.cursor = next;
            let next = walk.cursor.as_ref().filter(|_| !walk.done).map(|c| c.to_vec());
            return Ok(Some(Stretch { hits, records, last, next }));
        }
        Ok(None)
    }

    /// Parses a page, and leaves out what a provider of a smaller id holds too.
    async fn once(&self, opened: Vec<Opened>, asking: &mut Asking) -> Result<Vec<Hit>, AskError> {
        let mut kept: BTreeMap<String, Copy> = BTreeMap::new();
        for (record, provider) in parse_all(opened).await? {
            let copy = Copy { record, provider };
            let identity = copy.record.identity();
            if kept.get(&identity).is_none_or(|k| provider.0 < k.provider.0) {
                kept.insert(identity, copy);
            }
        }
        for (identity, smallest) in self.smallest_holders(&kept, asking).await? {
            if kept.get(&identity).is_some_and(|k| smallest.0 < k.provider.0) {
                kept.remove(&identity);
            }
        }
        let hit = |(identity, copy): (String, Copy)| Hit {
            identity,
            sources: [self.name(copy.provider)].into(),
            json: copy.record.json,
            bytes: copy.record.bytes,
        };
        Ok(kept.into_iter().map(hit).collect())
    }

    /// For each identity that a provider of a smaller id holds too, the smallest such provider.
    async fn smallest_holders(
        &self,
        kept: &BTreeMap<String, Copy>,
        asking: &mut Asking,
    ) -> Result<HashMap<String, PrincipalId>, AskError> {
        let mut providers: Vec<PrincipalId> = self.trusted().roster.hospitals().collect();
        providers.sort_unstable_by_key(|p| p.0);
        let mut by_provider: BTreeMap<[u8; 16], Vec<&String>> = BTreeMap::new();
        for (identity, copy) in kept {
            by_provider.entry(copy.provider.0).or_default().push(identity);
        }
        let mut smallest = HashMap::new();
        for (provider, identities) in by_provider {
            let before: Vec<PrincipalId> = providers.iter().copied().filter(|p| p.0 < provider).collect();
            if before.is_empty() {
                continue;
            }
            for part in identities.chunks(CHUNK) {
                let token = |id: &&String| IndexClause::Token {
                    field: ID_FIELD.into(),
                    scope: Scope::Isolated,
                    value: id.as_bytes().to_vec(),
                };
                let these = self.compile(&IndexClause::Or(part.iter().map(token).collect()))?;
                let clause = InnerClause::And(vec![these, InnerClause::Source(before.clone())]);
                for (record, holder) in self.copies(clause, asking).await? {
                    let known = smallest.entry(record.identity()).or_insert(holder);
                    if holder.0 < known.0 {
                        *known = holder;
                    }
                }
            }
        }
        Ok(smallest)
    }

    async fn copies(&self, clause: InnerClause, asking: &mut Asking) -> Result<Vec<(Record, PrincipalId)>, AskError> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let request = SearchRequest {
                clause: clause.clone(),
                purpose: self.purpose.clone(),
                sort: None,
                limit: limits::PAGE,
                cursor,
                prove: self.verifies(),
            };
            let (opened, next) = self.search_and_open(&request, asking, parse).await?;
            found.extend(opened.into_iter().collect::<Result<Vec<_>, RecordError>>()?);
            cursor = next;
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }
}

async fn parse_all(opened: Vec<Opened>) -> Result<Vec<(Record, PrincipalId)>, AskError> {
    let work = move || opened.into_par_iter().map(parse).collect::<Result<Vec<_>, RecordError>>();
    Ok(sealdex_net::blocking(work).await.map_err(|e| AskError::Died(e.to_string()))??)
}
