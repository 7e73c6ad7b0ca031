//! Queries: inner tokens and ranges become the cloud's terms and ranges, once per hospital for isolated
//! fields (spec sections 8 and 9).

use std::{cell::RefCell, collections::HashSet};

use sealdex_crypto::{Bits, FieldToken, Point, PrincipalId};
use sealdex_wire::{
    limits,
    search::{CloudClause, InnerClause, Scoped},
};

use crate::{
    error::GateError,
    members::Members,
    nodes::turns::Bridges,
    search::SearchRefusal,
    term_keys::{Scope, TermKeys},
};

/// Hospitals a query can match in: all, or those above the providers that a top-level condition names.
///
/// # Errors
/// [`SearchRefusal::UnknownProvider`] for a name anywhere in the query that is no provider's.
pub(crate) fn hospitals(clause: &InnerClause, members: &Members) -> Result<Vec<PrincipalId>, SearchRefusal> {
    check_sources(clause, members)?;
    let mut hospitals = members.hospitals().to_vec();
    restrict(clause, members, &mut hospitals);
    Ok(hospitals)
}

fn check_sources(clause: &InnerClause, members: &Members) -> Result<(), SearchRefusal> {
    match clause {
        InnerClause::Source(ids) => ids.iter().try_for_each(|id| root(*id, members).map(|_| ())),
        InnerClause::And(cs) | InnerClause::Or(cs) => cs.iter().try_for_each(|c| check_sources(c, members)),
        InnerClause::Not(c) => check_sources(c, members),
        _ => Ok(()),
    }
}

fn root(id: PrincipalId, members: &Members) -> Result<PrincipalId, SearchRefusal> {
    let provider = members.get(id).filter(|m| m.role == sealdex_wire::roster::Role::Provider);
    provider.map(|m| m.root()).ok_or(SearchRefusal::UnknownProvider(id))
}

/// Every match satisfies each top-level condition, so a source named there bounds the scopes of the
/// whole query, negations included.
fn restrict(clause: &InnerClause, members: &Members, hospitals: &mut Vec<PrincipalId>) {
    match clause {
        InnerClause::Source(ids) => {
            let roots: HashSet<_> = ids.iter().filter_map(|id| root(*id, members).ok()).collect();
            hospitals.retain(|h| roots.contains(h));
        }
        InnerClause::And(cs) => cs.iter().for_each(|c| restrict(c, members, hospitals)),
        _ => {}
    }
}

/// Unfolds one caller's query over given hospitals.
pub(crate) struct Unfolding<'a> {
    pub(crate) keys: &'a TermKeys,
    pub(crate) caller: PrincipalId,
    pub(crate) bridges: &'a Bridges,
    pub(crate) hospitals: &'a [PrincipalId],
    /// Where terms and tags of one hospital's scope are noted, if they are to be named to the cloud.
    pub(crate) named: Option<&'a RefCell<Vec<Scoped>>>,
}

impl Unfolding<'_> {
    /// The query in the cloud's terms. Refused before any work when it would exceed what the cloud
    /// evaluates.
    pub(crate) fn unfold(&self, clause: &InnerClause) -> Result<CloudClause, GateError> {
        let leaves = self.leaves(clause);
        if leaves > limits::CLOUD_LEAVES {
            return Err(SearchRefusal::TooWide { leaves, hospitals: self.hospitals.len() }.into());
        }
        self.clause(clause)
    }

    fn leaves(&self, clause: &InnerClause) -> usize {
        match clause {
            InnerClause::All => 1,
            InnerClause::Token { merged: true, .. }
            | InnerClause::Bridged { merged: true, .. }
            | InnerClause::Order { merged: true, .. } => 1,
            InnerClause::Token { .. } | InnerClause::Bridged { .. } | InnerClause::Order { .. } => {
                self.hospitals.len() + 1
            }
            InnerClause::Source(ids) => ids.len().max(1),
            InnerClause::And(cs) | InnerClause::Or(cs) => {
                cs.iter().map(|c| self.leaves(c)).fold(1, usize::saturating_add)
            }
            InnerClause::Not(c) => self.leaves(c).saturating_add(1),
        }
    }

    fn scopes(&self, merged: bool) -> Vec<Scope> {
        if merged { vec![Scope::Merged] } else { self.hospitals.iter().map(|h| Scope::Hospital(*h)).collect() }
    }

    fn name(&self, scope: Scope, terms: &[u8], tags: &[u8]) {
        if let (Some(named), Scope::Hospital(hospital)) = (self.named, scope) {
            named.borrow_mut().push(Scoped { hospital, terms: terms.to_vec(), tags: tags.to_vec() });
        }
    }

    fn terms(&self, merged: bool, x: &[u8]) -> CloudClause {
        let scopes = self.scopes(merged);
        let term = |scope| {
            let term = self.keys.scope(scope).term(x);
            self.name(scope, &term.0, &[]);
            term
        };
        let mut terms: Vec<_> = scopes.into_iter().map(term).collect();
        terms.sort_unstable();
        CloudClause::Terms(terms.iter().flat_map(|t| t.0).collect())
    }

    fn clause(&self, clause: &InnerClause) -> Result<CloudClause, GateError> {
        Ok(match clause {
            InnerClause::All => CloudClause::All,
            InnerClause::Token { merged, token } => self.terms(*merged, &token.0),
            InnerClause::Bridged { merged, point } => {
                let point = Point::from_bytes(&point.0).map_err(|_| SearchRefusal::Token)?;
                let bridged = self.bridges.apply(self.caller, &[point])?;
                self.terms(*merged, bridged.first().map_or(&[], |t| t.as_slice()))
            }
            InnerClause::Order { merged, field, bits, lo, hi } => {
                let bits = Bits::new(*bits).map_err(|_| SearchRefusal::Range)?;
                self.ranges(*merged, FieldToken(*field), bits, *lo, *hi)?
            }
            InnerClause::Source(ids) => CloudClause::Source(ids.clone()),
            InnerClause::And(cs) => CloudClause::And(self.all(cs)?),
            InnerClause::Or(cs) => either(self.all(cs)?),
            InnerClause::Not(c) => CloudClause::Not(Box::new(self.clause(c)?)),
        })
    }

    fn all(&self, clauses: &[InnerClause]) -> Result<Vec<CloudClause>, GateError> {
        clauses.iter().map(|c| self.clause(c)).collect()
    }

    fn ranges(&self, merged: bool, field: FieldToken, bits: Bits, lo: u64, hi: u64) -> Result<CloudClause, GateError> {
        let range = |scope| {
            let run = self.keys.order(field, scope);
            self.name(scope, &[], &run.tag);
            let (lo, hi) = run.key.bounds(bits, lo, hi).map_err(|_| SearchRefusal::Range)?;
            Ok(CloudClause::Range { tag: run.tag, lo, hi })
        };
        let mut ranges: Vec<_> = self.scopes(merged).into_iter().map(range).collect::<Result<_, SearchRefusal>>()?;
        Ok(match ranges.len() {
            1 => ranges.remove(0),
            _ => CloudClause::Or(ranges),
        })
    }
}

/// An alternative of clauses, those that are mere terms in one list.
fn either(clauses: Vec<CloudClause>) -> CloudClause {
    let (mut terms, mut others) = (Vec::new(), Vec::new());
    for clause in clauses {
        match clause {
            CloudClause::Terms(more) => terms.extend(more),
            other => others.push(other),
        }
    }
    match (terms.is_empty(), others.is_empty()) {
        (_, true) => CloudClause::Terms(terms),
        (true, false) => CloudClause::Or(others),
        (false, false) => {
            others.push(CloudClause::Terms(terms));
            CloudClause::Or(others)
        }
    }
}
