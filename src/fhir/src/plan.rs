//! From a checked question to index clauses. The clauses find a superset of the answer, never less;
//! what they leave over is decided on the plaintext.

use std::{collections::BTreeSet, sync::Arc};

use sealdex_schema::{Field, IndexKind, Normaliser, Path, Quantiser, Scope, TYPE_FIELD, Value};

use crate::{
    query::Op,
    resolve::{Condition, Resolved, Target},
};

/// What the index is asked, independent of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexClause {
    /// Every record.
    All,
    /// A token.
    Token {
        /// Field the key is derived for.
        field: Arc<str>,
        /// Scope.
        scope: Scope,
        /// Canonical bytes.
        value: Vec<u8>,
    },
    /// A bridged token.
    Bridged {
        /// Field the point is derived for.
        field: Arc<str>,
        /// Scope.
        scope: Scope,
        /// Canonical bytes.
        value: Vec<u8>,
    },
    /// A range of quantised values, both ends included.
    Order {
        /// Field the key is derived for.
        field: Arc<str>,
        /// Scope.
        scope: Scope,
        /// Width.
        bits: u8,
        /// Lowest.
        from: u64,
        /// Highest.
        to: u64,
    },
    /// A range of a cover field, both ends included.
    Cover {
        /// Field the key is derived for.
        field: Arc<str>,
        /// Scope.
        scope: Scope,
        /// Width.
        bits: u8,
        /// Lowest.
        from: u32,
        /// Highest.
        to: u32,
    },
    /// Records of these providers.
    Source(Vec<String>),
    /// All of these.
    And(Vec<IndexClause>),
    /// Any of these.
    Or(Vec<IndexClause>),
    /// None of these.
    Not(Box<IndexClause>),
}

/// An order field the cloud can sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortField {
    /// Field the key is derived for.
    pub field: Arc<str>,
    /// Scope.
    pub scope: Scope,
    /// Width.
    pub bits: u8,
    /// Quantiser, to find the run of values that share the last one's place.
    pub quantiser: Quantiser,
}

/// How a question is put to the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Finds a superset of the answer.
    pub clause: IndexClause,
    /// Sorts it, for top-k.
    pub sort: Option<SortField>,
    /// What the index could not narrow, in words.
    pub notes: Vec<String>,
}

/// Plans one question; its `has` conditions are planned by themselves.
pub fn plan(q: &Resolved) -> Plan {
    let mut notes = Vec::new();
    let mut clauses: Vec<IndexClause> = q.filters.iter().filter_map(|c| clause(c, &q.filters, &mut notes)).collect();
    // A clause on a field of the type implies the type.
    let of_type = format!("{}.", q.resource);
    if !clauses.iter().any(|c| implies_type(c, &of_type)) {
        let value = q.resource.clone().into_bytes();
        clauses.insert(0, IndexClause::Token { field: TYPE_FIELD.into(), scope: Scope::Isolated, value });
    }
    let sort = q.topk.as_ref().and_then(|(target, _)| sort_field(target, &q.filters));
    if q.topk.is_some() && sort.is_none() {
        notes.push("the largest are found after opening all matches: the field is not sorted in the index, or spans several codes".into());
    }
    Plan { clause: IndexClause::And(clauses), sort, notes }
}

pub(crate) fn implies_type(clause: &IndexClause, of_type: &str) -> bool {
    match clause {
        IndexClause::Token { field, .. }
        | IndexClause::Bridged { field, .. }
        | IndexClause::Order { field, .. }
        | IndexClause::Cover { field, .. } => field.starts_with(of_type),
        IndexClause::And(all) => all.iter().any(|c| implies_type(c, of_type)),
        IndexClause::Or(any) => any.iter().all(|c| implies_type(c, of_type)),
        IndexClause::All | IndexClause::Source(_) | IndexClause::Not(_) => false,
    }
}

/// Names the values a target can match are indexed under: its own; or one for each code a match can
/// carry. `None` when those codes are not known.
fn names(target: &Target, filters: &[Condition]) -> Option<Vec<Arc<str>>> {
    let field = &target.field;
    match (&field.qualified_by, &target.code) {
        (None, _) => Some(vec![field.full.clone()]),
        (Some(_), Some(code)) => Some(vec![field.qualified(Some(code))]),
        (Some(by), None) if field.base.is_none() => filters
            .iter()
            .find_map(|c| codes(c, &by.to_string()))
            .map(|codes| codes.iter().map(|c| field.qualified(Some(c))).collect()),
        (Some(_), None) => None,
    }
}

/// Codes at the path `by` of which every match of the condition carries one: those of an equality on a
/// field that stands at the same place.
fn codes(condition: &Condition, by: &str) -> Option<BTreeSet<String>> {
    let Condition::Compare { target, op: Op::Eq | Op::In, values } = condition else { return None };
    let field = &target.field;
    let same_place = |p: &Path| p.to_string() == by || by.strip_suffix(".code") == Some(p.to_string().as_str());
    if field.base.is_some() || !field.paths.iter().all(same_place) {
        return None;
    }
    let mut codes = BTreeSet::new();
    for value in values {
        match (field.normaliser, value) {
            (Normaliser::Code, Value::Text(code)) => codes.extend([code.clone()]),
            // Where the system ends is not written in `a|b|c`: either reading may be the one.
            (Normaliser::Coding, Value::Text(t)) => {
                codes.extend(t.match_indices('|').map(|(i, _)| t[i + 1..].to_owned()))
            }
            _ => return None,
        }
    }
    // An empty code qualifies nothing, so its values stand in no index.
    (!codes.contains("")).then_some(codes)
}

fn sort_field(target: &Target, filters: &[Condition]) -> Option<SortField> {
    let IndexKind::Order(quantiser) = &target.field.index else { return None };
    let mut names = names(target, filters)?;
    let field = names.pop().filter(|_| names.is_empty())?;
    Some(SortField { field, scope: target.field.scope, bits: quantiser.bits(), quantiser: quantiser.clone() })
}

fn clause(condition: &Condition, filters: &[Condition], notes: &mut Vec<String>) -> Option<IndexClause> {
    match condition {
        Condition::Source { negated: false, names } => Some(IndexClause::Source(names.clone())),
        // A resource several providers hold is one answer; excluding a provider's copy is decided later.
        Condition::Source { negated: true, .. } => None,
        Condition::Words { target, words } => {
            let token = |w: &String| token(&target.field, target.field.full.clone(), w.clone().into_bytes());
            Some(IndexClause::And(words.iter().map(token).collect()))
        }
        Condition::Prefix { target, prefix } => match target.field.prefixes {
            Some(longest) => {
                let short: String = prefix.chars().take(longest).collect();
                Some(token(&target.field, target.field.prefix_name(), short.into_bytes()))
            }
            None => {
                notes.push(format!(
                    "{} has no prefixes in the index: all records of the type are opened",
                    target.field.full
                ));
                None
            }
        },
        Condition::Compare { target, op, values } => compare(target, *op, values, filters, notes),
    }
}

fn token(field: &Field, name: Arc<str>, value: Vec<u8>) -> IndexClause {
    IndexClause::Token { field: name, scope: field.scope, value }
}

fn compare(
    target: &Target,
    op: Op,
    values: &[Value],
    filters: &[Condition],
    notes: &mut Vec<String>,
) -> Option<IndexClause> {
    let field = &target.field;
    if op == Op::Ne {
        notes.push(format!("{} ne …: decided after opening", field.full));
        return None;
    }
    let equality = matches!(op, Op::Eq | Op::In);
    if !equality && matches!(field.index, IndexKind::Token | IndexKind::Words | IndexKind::Bridged) {
        notes.push(format!("{} is indexed for equality only: decided after opening", field.full));
        return None;
    }
    let Some(names) = names(target, filters) else {
        notes.push(format!(
            "{} without a code cannot be narrowed by the index (each code has a scale of its own): all other matches are opened; add a filter on \"code\" or \"token\"",
            field.full
        ));
        return None;
    };
    Some(any(names.into_iter().map(|name| under(field, &name, op, values)).collect()))
}

/// A comparison as a clause on one name of the field.
fn under(field: &Field, name: &Arc<str>, op: Op, values: &[Value]) -> IndexClause {
    let scope = field.scope;
    any(match &field.index {
        IndexKind::Token | IndexKind::Words => {
            values.iter().map(|v| token(field, name.clone(), v.token_bytes())).collect()
        }
        IndexKind::Bridged => {
            let one = |v: &Value| IndexClause::Bridged { field: name.clone(), scope, value: v.token_bytes() };
            values.iter().map(one).collect()
        }
        IndexKind::Cover(quantiser) => {
            let narrow = |q: u64| u32::try_from(q).unwrap_or(u32::MAX);
            let one = |(from, to): (u64, u64)| IndexClause::Cover {
                field: name.clone(),
                scope,
                bits: quantiser.bits(),
                from: narrow(from),
                to: narrow(to),
            };
            ranges(op, values, quantiser).into_iter().map(one).collect()
        }
        IndexKind::Order(quantiser) => {
            let one = |(from, to): (u64, u64)| IndexClause::Order {
                field: name.clone(),
                scope,
                bits: quantiser.bits(),
                from,
                to,
            };
            ranges(op, values, quantiser).into_iter().map(one).collect()
        }
    })
}

pub(crate) fn any(mut clauses: Vec<IndexClause>) -> IndexClause {
    if clauses.len() == 1 { clauses.swap_remove(0) } else { IndexClause::Or(clauses) }
}

/// Ranges of quantised values that hold every match, rounded outward; reversed ranges match nothing.
fn ranges(op: Op, values: &[Value], quantiser: &Quantiser) -> Vec<(u64, u64)> {
    let q: Vec<u64> = values.iter().map(|v| v.bound(quantiser)).collect();
    let max = quantiser.max_q();
    match (op, q.as_slice()) {
        (Op::Eq | Op::In, points) => points.iter().map(|p| (*p, *p)).collect(),
        (Op::Lt | Op::Le, [x]) => vec![(0, *x)],
        (Op::Gt | Op::Ge, [x]) => vec![(*x, max)],
        (Op::Between | Op::Window, [a, b]) if a <= b => vec![(*a, *b)],
        (Op::Between | Op::Window, _) => Vec::new(),
        _ => vec![(0, max)],
    }
}
