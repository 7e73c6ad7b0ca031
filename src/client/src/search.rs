//! FHIR searches over the encrypted index, decided exactly on what this user may see.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use sealdex_fhir::search::{Condition, Include, Joined, ParamKind, Search, Shape, narrow, parameters, references};
use sealdex_fhir::{Hit, IndexClause, Plan, Record};
use sealdex_schema::{ID_FIELD, Scope};

use crate::session::{AskError, Asking, Cost, Hits, Session};

/// Identities asked for in one search.
const CHUNK: usize = 1024;
/// Rounds of `_include:iterate`.
const ROUNDS: usize = 4;
/// Most resources that come with one page of matches.
const MOST_INCLUDED: usize = 10_000;

/// Most matches that [`Session::list`] holds at a time.
pub const WHOLE: usize = 1024;

/// A page of what a search found.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Identities of everything that matches, in the asked order.
    pub order: Vec<String>,
    /// The page, in the asked order.
    pub page: Vec<Hit>,
    /// What the index could not narrow.
    pub notes: Vec<String>,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Everything that matches, in the asked order.
    pub matches: Vec<Hit>,
    /// What the index could not narrow.
    pub notes: Vec<String>,
    /// Work done.
    pub cost: Cost,
}

impl Session {
    /// Everything that satisfies a FHIR search.
    ///
    /// # Errors
    /// Also when more records would have to be opened than [`Session::opening_at_most`] allows.
    pub async fn search(&self, search: &Search) -> Result<Found, AskError> {
        let started = Instant::now();
        let mut asking = Asking::new(&self.purpose, self.most);
        let hits = self.matching(search, &mut asking).await?;
        asking.cost.elapsed = started.elapsed();
        asking.notes.dedup();
        Ok(Found { matches: search.arrange(hits), notes: asking.notes, cost: asking.cost })
    }

    /// A page of what satisfies a FHIR search, and the identities of all of it. However much there is, no more
    /// than [`WHOLE`] matches are held at a time.
    ///
    /// # Errors
    /// Also when more records would have to be opened than [`Session::opening_at_most`] allows.
    pub async fn list(&self, search: &Search, start: usize, count: usize) -> Result<Listed, AskError> {
        let mut asking = Asking::new(&self.purpose, self.most);
        let Some((joined, plan)) = self.plan(search, &mut asking).await? else {
            return Ok(Listed { order: Vec::new(), page: Vec::new(), notes: asking.notes });
        };
        let keep = |record: &Record, _: &BTreeSet<String>| search.holds(&record.json, &joined);
        let place = |json: &serde_json::Value| search.places(json);
        let mut hits = Hits::slimming(&keep, &place, WHOLE);
        self.collect(&plan.clause, &mut hits, &mut asking).await?;
        let (order, page) = match hits.take_slim() {
            None => {
                let all = search.arrange(hits.into_vec());
                let order = all.iter().map(|h| h.identity.clone()).collect();
                (order, all.into_iter().skip(start).take(count).collect())
            }
            Some(placed) => {
                let order = search.arrange_identities(placed);
                let wanted: Vec<String> = order.iter().skip(start).take(count).cloned().collect();
                let found = self.by_id(&wanted, &mut asking).await?;
                (order, search.arrange(found))
            }
        };
        Ok(Listed { order, page, notes: asking.notes })
    }

    /// Resources by `Type/id`; those that are not there, or not for this user, are left out.
    pub async fn read(&self, identities: &[String]) -> Result<Vec<Hit>, AskError> {
        let mut asking = Asking::new(&self.purpose, self.most);
        self.by_id(identities, &mut asking).await
    }

    /// What comes with a page of matches, by `_include` and `_revinclude`; no match is repeated.
    pub async fn includes(&self, shape: &Shape, page: &[Hit]) -> Result<Vec<Hit>, AskError> {
        let mut asking = Asking::new(&self.purpose, self.most);
        let mut seen: BTreeSet<String> = page.iter().map(|h| h.identity.clone()).collect();
        let mut out: BTreeMap<String, Hit> = BTreeMap::new();
        let mut from: Vec<Hit> = page.to_vec();
        for round in 0..ROUNDS {
            let mut next = Vec::new();
            for include in shape.includes.iter().filter(|i| round == 0 || i.iterate) {
                let found = if include.reverse {
                    self.referring(include, &from, &mut asking).await?
                } else {
                    let wanted: Vec<String> =
                        referred(include, &from).into_iter().filter(|id| !seen.contains(id)).collect();
                    self.by_id(&wanted, &mut asking).await?
                };
                next.extend(found.into_iter().filter(|h| seen.insert(h.identity.clone())));
                if seen.len() > MOST_INCLUDED {
                    return Err(AskError::TooCostly(MOST_INCLUDED as u64));
                }
            }
            if next.is_empty() {
                break;
            }
            out.extend(next.iter().map(|h| (h.identity.clone(), h.clone())));
            from = next;
        }
        Ok(out.into_values().collect())
    }

    pub(crate) async fn matching(&self, search: &Search, asking: &mut Asking) -> Result<Vec<Hit>, AskError> {
        let Some((joined, plan)) = self.plan(search, asking).await? else { return Ok(Vec::new()) };
        let keep = |record: &Record, _: &BTreeSet<String>| search.holds(&record.json, &joined);
        let mut hits = Hits::new(&keep);
        self.collect(&plan.clause, &mut hits, asking).await?;
        Ok(hits.into_vec())
    }

    /// How a search is put to the index, after its conditions on other resources were searched. `None` when
    /// one of them came to nothing.
    async fn plan(&self, search: &Search, asking: &mut Asking) -> Result<Option<(Vec<Joined>, Plan)>, AskError> {
        let mut joined = Vec::with_capacity(search.conditions.len());
        for condition in &search.conditions {
            joined.push(Box::pin(self.join(condition, search.resource, asking)).await?);
        }
        let nobody = |j: &Joined| matches!(j, Joined::RefersTo(set) | Joined::Is(set) if set.is_empty());
        if joined.iter().any(nobody) {
            return Ok(None);
        }
        let plan = narrow(search, &joined, &self.trusted().schema);
        asking.notes.extend(plan.notes.iter().cloned());
        Ok(Some((joined, plan)))
    }

    async fn join(&self, condition: &Condition, resource: &str, asking: &mut Asking) -> Result<Joined, AskError> {
        Ok(match condition {
            Condition::Own(_) => Joined::Own,
            Condition::Chain { targets, .. } => {
                let mut set = BTreeSet::new();
                for target in targets {
                    set.extend(self.matching(target, asking).await?.into_iter().map(|h| h.identity));
                }
                Joined::RefersTo(set)
            }
            Condition::Has { reference, search } => {
                let found = self.matching(search, asking).await?;
                let all = found.iter().flat_map(|h| references(reference, &h.json));
                Joined::Is(all.filter(|r| r.split_once('/').is_some_and(|(of, _)| of == resource)).collect())
            }
        })
    }

    async fn by_id(&self, identities: &[String], asking: &mut Asking) -> Result<Vec<Hit>, AskError> {
        let wanted: BTreeSet<&str> = identities.iter().map(String::as_str).collect();
        let keep = |record: &Record, _: &BTreeSet<String>| wanted.contains(record.identity().as_str());
        let mut hits = Hits::new(&keep);
        for part in identities.chunks(CHUNK) {
            let token = |id: &String| IndexClause::Token {
                field: ID_FIELD.into(),
                scope: Scope::Isolated,
                value: id.clone().into_bytes(),
            };
            let clause = IndexClause::Or(part.iter().map(token).collect());
            self.collect(&clause, &mut hits, asking).await?;
        }
        Ok(hits.into_vec())
    }

    /// Resources that refer to any of these.
    async fn referring(&self, include: &Include, from: &[Hit], asking: &mut Asking) -> Result<Vec<Hit>, AskError> {
        let (Some(resource), Some(parameter)) = (include.source, include.parameter) else { return Ok(Vec::new()) };
        let wanted =
            |h: &&Hit| include.target.is_none_or(|t| h.identity.split_once('/').is_some_and(|(of, _)| of == t));
        let set: BTreeSet<String> = from.iter().filter(wanted).map(|h| h.identity.clone()).collect();
        let search = Search {
            resource,
            conditions: vec![Condition::Chain { parameter, targets: Vec::new() }],
            shape: Shape::default(),
            ignored: Vec::new(),
            applied: Vec::new(),
        };
        let mut found = Vec::new();
        let all: Vec<String> = set.into_iter().collect();
        for part in all.chunks(CHUNK / 2) {
            let joined = [Joined::RefersTo(part.iter().cloned().collect())];
            let plan = narrow(&search, &joined, &self.trusted().schema);
            let keep = |record: &Record, _: &BTreeSet<String>| search.holds(&record.json, &joined);
            let mut hits = Hits::new(&keep);
            self.collect(&plan.clause, &mut hits, asking).await?;
            found.extend(hits.into_vec());
        }
        Ok(found)
    }
}

/// What these resources refer to.
fn referred(include: &Include, from: &[Hit]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for hit in from {
        let Some((kind, _)) = hit.identity.split_once('/') else { continue };
        if include.source.is_some_and(|s| s != kind) {
            continue;
        }
        match include.parameter {
            Some(one) => out.extend(references(one, &hit.json)),
            None => {
                let all = parameters(kind).filter(|p| p.kind == ParamKind::Reference);
                all.for_each(|p| out.extend(references(p, &hit.json)));
            }
        }
    }
    out.retain(|id| include.target.is_none_or(|t| id.split_once('/').is_some_and(|(of, _)| of == t)));
    out
}
